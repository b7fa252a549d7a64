"""The drawn faces: who, how old and how seen are separate, repeatable and in the place that the detector names."""

import pytest
import torch
from PIL import Image

from training.__main__ import main
from training.ages import AGE_CLASSES, CLASS_YEARS, class_of
from training.data.dataset import read_regularization_set
from training.faces.find import crop_squares, cut_square
from training.pictures.photos import read_folder
from training.world.render.aging import measure
from training.world.render.face import draw
from training.world.render.photos import photos, write_photos
from training.world.render.place import face_crops, known_place
from training.world.render.population import some_ages
from training.world.render.traits import DISGUISES, IDENTITY_TRAITS, VIEW_TRAITS, disguised, identities, views


def years(*values):
    return torch.tensor([float(value) for value in values])


def with_trait(people, name, value):
    changed = people.clone()
    changed[:, IDENTITY_TRAITS.index(name)] = value
    return changed


def test_a_seed_draws_the_same_face_alone_and_among_others():
    ages = years(*range(5, 95, 9))
    together = draw(identities(range(10)), ages, views(range(10)))
    assert together.shape == (10, 3, 64, 64) and together.abs().max() <= 1
    torch.testing.assert_close(draw(identities([7]), ages[7:8], views([7])), together[7:8], atol=1e-5, rtol=0)


def test_rows_depend_on_their_own_seed_alone():
    assert torch.equal(identities([3, 9])[1], identities([9])[0])
    assert not torch.equal(identities([3]), identities([4]))
    assert identities(range(200)).mean(0).sub(0.5).abs().max() < 0.12


def test_faces_fill_the_range_of_brightness_and_differ():
    pictures = draw(identities(range(24)), some_ages(range(24)), views(range(24)))
    assert pictures.isfinite().all()
    assert pictures.mean((1, 2, 3)).std() > 0.05
    assert (pictures[0] - pictures[1]).abs().mean() > 0.1


@pytest.mark.parametrize("trait", ["iris_hue", "nose_width", "mouth_width", "brow_thickness", "lip_red"])
def test_inner_features_are_inside_the_known_place(trait):
    people, ages, seen = identities(range(16)), some_ages(range(16)), views(range(16))
    low, high = (draw(with_trait(people, trait, value), ages, seen) for value in (0.0, 1.0))
    changed = (low - high).abs().sum(1)
    assert (changed.amax((1, 2)) > 0.02).all()
    left, top, right, bottom = (round(edge) for edge in known_place(Image.new("RGB", (64, 64)))[0].square())
    inside = changed[:, top:bottom, left:right].sum((1, 2)) / changed.sum((1, 2))
    assert inside.min() > 0.97


def test_known_place_is_what_embedders_crop():
    pictures = draw(identities(range(3)), years(8, 30, 70), views(range(3)))
    face = known_place(Image.new("RGB", (64, 64)))[0]
    torch.testing.assert_close(
        crop_squares(pictures, torch.tensor([face.square()] * 3), 48), face_crops(pictures), atol=1e-4, rtol=0
    )
    (large,) = known_place(Image.new("RGB", (128, 128)))
    assert large.box == pytest.approx([2 * edge for edge in face.box])


def test_training_keeps_the_whole_picture():
    (picture,) = photos(1, 30, 1)
    cut, face = cut_square(picture, known_place(picture)[0], 64, 0.5)
    assert cut.tobytes() == picture.tobytes() and face.box == pytest.approx(known_place(picture)[0].box)


def test_a_disguise_changes_hair_beard_and_glasses_only():
    people = identities(range(5))
    changed = (disguised(people, range(5)) != people).all(0)
    assert {name for name, other in zip(IDENTITY_TRAITS, changed.tolist(), strict=True) if other} == set(DISGUISES)


def test_a_child_grows_and_then_ages():
    m = measure(identities([4]).repeat(4, 1), years(4, 20, 50, 85))
    eyes, nose, lips, lines, grey = (
        getattr(m, name).flatten() for name in ("eye_y", "nose_width", "upper_lip", "crows_feet", "grey")
    )
    assert eyes[0] > eyes[1] == eyes[2] == eyes[3]
    assert nose[0] < nose[1] < nose[3]
    assert lips[1] > lips[2] > lips[3]
    assert lines[0] == lines[1] == 0 < lines[2] < lines[3]
    assert grey[1] < 0.1 and grey[3] > 0.9


def test_a_shifted_view_is_a_shifted_picture():
    straight = torch.full((1, len(VIEW_TRAITS)), 0.5)
    moved = straight.clone()
    moved[:, VIEW_TRAITS.index("shift_x")] = 1.0  # 5 % of half a side: 1.6 px to the right
    size = 320
    first, second = (draw(identities([2]), years(30), view, side=size, supersample=1) for view in (straight, moved))
    inner = slice(100, 250)
    errors = [
        (second[..., inner, inner] - first[..., inner, 100 - shift : 250 - shift]).abs().mean() for shift in range(13)
    ]
    assert torch.stack(errors).argmin() == 8


def test_ages_are_alike_in_all_classes_and_keep_their_limits():
    ages = some_ages(range(3000))
    counts = [sum(class_of(age) == name for age in ages.tolist()) for name in AGE_CLASSES]
    assert min(counts) > 420 and max(counts) < 580
    assert [class_of(years) for years in (2, 12.9, 13, 34, 54.5, 55, 100)] == [
        "child", "child", "teenager", "youngadults", "middleaged", "elderly", "old",
    ]  # fmt: skip
    assert list(CLASS_YEARS) == list(AGE_CLASSES)


def test_written_photos_are_what_training_reads(tmp_path):
    write_photos(tmp_path, person=3, years=40, count=2, per_class=1)
    assert len(read_folder(tmp_path / "photos", "photos")) == 2
    assert read_regularization_set(tmp_path / "ages").ages == sorted(AGE_CLASSES)
    assert Image.open(tmp_path / "photos" / "01.png").size == (64, 64)


def test_the_command_writes_photos_and_says_what_it_misses(tmp_path, capsys):
    assert main(["world"]) == 2
    message = capsys.readouterr().err
    assert "--photos" in message and "--export" in message
    assert main(["world", "--export", str(tmp_path / "world.ckpt")]) == 2
    message = capsys.readouterr().err
    assert "world.ckpt" in message and ".safetensors" in message
    assert main(["world", "--photos", str(tmp_path), "--years", "60"]) == 0
    assert "one person at 60 years" in capsys.readouterr().out
    assert len(read_folder(tmp_path / "photos", "photos")) == 8
    assert len(read_regularization_set(tmp_path / "ages").photos) == 120

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.parts import FACE, SIDE, picture, regularization_set, subject_set, tiny_trainer
from training.ages import AGE_CLASSES, AgeEstimate
from training.data.dataset import find_faces, read_regularization_set
from training.dreambooth.batches import latent_window
from training.errors import InvalidData
from training.faces.find import Face, cut_square
from training.runs.state import run_id


def folder_of(tmp_path, *names, captions=None):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        picture(0).save(tmp_path / name)
    for name, text in (captions or {}).items():
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "age"),
    [
        ("child_0001.jpg", "child"),
        ("child-1.png", "child"),
        ("young adult 3.webp", "youngadults"),
        ("Middle-Aged_2.jpg", "middleaged"),
        ("elderly/a.png", "elderly"),
        ("deep/young adult/a.png", "youngadults"),
    ],
)
def test_the_age_class_comes_from_the_name(tmp_path, name, age):
    assert read_regularization_set(folder_of(tmp_path, name)).ages == [age]


def test_the_file_name_has_priority_over_the_folder_and_the_folder_over_the_text(tmp_path):
    names = ("elderly/child_1.png", "elderly/a.png", "a.png", "old_1.png")
    texts = dict.fromkeys(("elderly/child_1.txt", "elderly/a.txt", "a.txt", "old_1.txt"), "photo of a teenager")
    images = read_regularization_set(folder_of(tmp_path, *names, captions=texts))
    ages = dict(zip((photo.name for photo in images.photos), images.ages, strict=True))
    assert ages == {"elderly/child_1.png": "child", "elderly/a.png": "elderly", "a.png": "teenager", "old_1.png": "old"}


def test_the_error_lists_the_images_without_an_age_class(tmp_path):
    names = ["child_1.png", *(f"{n}.png" for n in range(12))]
    folder = folder_of(tmp_path, *names, captions={"3.txt": "a child and an elderly"})
    with pytest.raises(InvalidData) as error:
        read_regularization_set(folder)
    assert "12 of 13 images" in str(error.value) and "0.png" in str(error.value) and "2 more" in str(error.value)
    assert ", ".join(AGE_CLASSES) in str(error.value)


def test_the_report_counts_each_class_and_warns_of_empty_ones(tmp_path):
    report = read_regularization_set(folder_of(tmp_path, "child_1.png", "child_2.png", "old_1.png")).report
    counts, warning = report.splitlines()
    assert counts.startswith("3 ") and "child 2, teenager 0, youngadults 0, middleaged 0, elderly 0, old 1" in counts
    assert "teenager, youngadults, middleaged, elderly" in warning
    assert "child" not in warning and "old" not in warning


def test_names_of_published_sets_give_the_age_classes(tmp_path):
    names = ["5_0_0_20170109142408075.jpg.chip.jpg", "16_1_20170109142408075.jpg", "110_1_2_20170109142408075.jpg"]
    images = read_regularization_set(folder_of(tmp_path, *names))
    ages = dict(zip((photo.name for photo in images.photos), images.ages, strict=True))
    assert ages == dict(zip(names, ("child", "teenager", "old"), strict=True))
    assert "UTKFace" in images.report and "3 of 3" in images.report


def test_folders_and_texts_have_priority_over_the_names_of_published_sets(tmp_path):
    assert read_regularization_set(folder_of(tmp_path, "elderly/001A02.png")).ages == ["elderly"]


class SaysOld:
    name, errors = "stub", None

    def __call__(self, image, face):
        return AgeEstimate(80.0, "old")


def test_missing_ages_are_estimated_and_images_without_a_face_are_left_out(tmp_path):
    folder = folder_of(tmp_path, "child_1.png", "a.png", "b.png")
    Image.new("RGB", (SIDE, SIDE), "white").save(tmp_path / "b.png")
    images = read_regularization_set(
        folder, SaysOld(), lambda image: [] if image.getpixel((0, 0))[0] == 255 else [FACE]
    )
    assert [photo.name for photo in images.photos] == ["a.png", "child_1.png"] and images.ages == ["old", "child"]
    estimated, left_out = images.remarks
    assert "1 of 3" in estimated and "stub" in estimated and "1 of 3" in left_out and "b.png" in left_out
    assert estimated in images.report and left_out in images.report


def test_a_set_of_which_nothing_is_left_is_refused(tmp_path):
    with pytest.raises(InvalidData, match=r"1 of 1 .*\ba\.png"):
        read_regularization_set(folder_of(tmp_path, "a.png"), SaysOld(), lambda image: [])


def marked(face, size=(300, 200)):
    """Returns a grey image with a red face."""
    image = Image.new("RGB", size, "grey")
    image.paste((255, 0, 0), tuple(map(int, face.box)))
    return image


def red_box(image):
    pixels = np.asarray(image).astype(int)
    rows, columns = np.nonzero(pixels[..., 0] - pixels[..., 1] > 64)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("box", [(120, 60, 160, 110), (2, 3, 42, 53), (260, 150, 298, 198)])
@pytest.mark.parametrize("margin", [0.2, 0.5, 3.0, None])
def test_a_square_crop_reports_where_the_face_is(box, margin):
    square, face = cut_square(marked(Face(box)), Face(tuple(map(float, box))), 128, margin)
    assert square.size == (128, 128)
    assert np.abs(np.array(red_box(square)) - face.box).max() <= 2


def test_margin_is_in_face_sizes():
    _, face = cut_square(marked(Face((120, 60, 160, 100))), Face((120.0, 60.0, 160.0, 100.0)), 160, 0.5)
    assert face.side == pytest.approx(80)  # half of the image: the face, plus half a face size on each side
    assert face.center == pytest.approx((80, 80))


def test_without_a_face_the_crop_is_central():
    image = Image.new("RGB", (300, 100), "grey")
    image.paste("red", (140, 40, 160, 60))
    square, face = cut_square(image, None, 100, 0.5)
    assert face is None
    assert red_box(square) == (40, 40, 60, 60)


def test_photos_without_a_face_and_with_several_are_reported():
    faces = {0: [], 1: [FACE], 2: [FACE, FACE]}
    answers = iter(faces.values())
    subject = find_faces(subject_set(3).photos, lambda image: next(answers))
    assert subject.faces == [None, FACE, FACE]
    without, several = subject.remarks
    assert without.startswith("0.png: no face") and several.startswith("2.png: 2 faces")


@pytest.fixture(scope="module")
def data():
    return tiny_trainer(train_batch_size=4, loss="triplet").data


@pytest.fixture(scope="module")
def batches(data):
    return [data.sample(number) for number in range(600)]


def test_the_probability_of_decoding_a_face_is_its_weight(batches):
    """Then the expected loss over the decoded faces equals the weighted loss, at every t."""
    t = torch.cat([batch.t[: batch.instances] for batch in batches])
    decoded = torch.cat([torch.isin(torch.arange(batch.instances), batch.decode) for batch in batches]).double()
    weight = (1 - t.double() / 1000) ** 2
    noise = (weight * (1 - weight)).sum().sqrt()
    assert abs(decoded.sum() - weight.sum()) < 4 * noise
    for low in range(0, 1000, 250):
        here = (t >= low) & (t < low + 250)
        spread = (weight[here] * (1 - weight[here])).sum().sqrt()
        assert abs(decoded[here].sum() - weight[here].sum()) < 4 * spread


def test_all_images_are_used_equally_often(data, monkeypatch):
    used, encode = Counter(), data._posterior
    monkeypatch.setattr(
        data, "_posterior", lambda kind, index, *more: used.update([(kind, index)]) or encode(kind, index, *more)
    )
    for number in range(300):
        data.sample(number)
    assert {used["instance", index] for index in range(3)} == {400}
    assert {used["regularization", index] for index in range(6)} == {200}


def test_flips_move_the_face(data, batches):
    straight, mirrored = FACE.square(), FACE.mirrored(SIDE).square()
    squares = {tuple(square.tolist()) for batch in batches for square in batch.squares}
    rounded = {tuple(round(value, 3) for value in square) for square in squares}
    assert rounded == {tuple(round(value, 3) for value in square) for square in (straight, mirrored)}


def test_negatives_are_faces_of_the_regularization_set(data, batches):
    pool = {tuple(row.tolist()) for row in data.negatives.vectors}
    assert len(data.negatives.vectors) == len(regularization_set().photos)
    assert {tuple(row.tolist()) for batch in batches for row in batch.negatives} == pool


def test_the_triplet_loss_reports_regularization_images_without_a_face(monkeypatch):
    faceless = regularization_set().photos[1].image().tobytes()
    monkeypatch.setattr("tests.parts.known_place", lambda image: [] if image.tobytes() == faceless else [FACE])
    remarks = []
    trainer = tiny_trainer(loss="triplet", say=lambda *sentences: remarks.extend(sentences))
    assert trainer.data.negatives.ages == [age for age in AGE_CLASSES if age != "teenager"]
    assert ["1 of 6" in remark and "teenager_1.png" in remark for remark in remarks] == [True]


def test_half_of_the_prompts_are_for_the_subject_and_half_for_the_ages(batches):
    assert batches[0].prompts[:4] == ["photo of a sks person"] * 4
    ages = Counter(prompt for batch in batches for prompt in batch.prompts[4:])
    assert set(ages) == {f"photo of a {age}" for age in AGE_CLASSES}
    assert max(ages.values()) - min(ages.values()) <= 1


def aged(ages):
    """Returns a subject of three photos with the given ages."""
    subject = subject_set(3)
    return replace(subject, photos=[replace(photo, age=age) for photo, age in zip(subject.photos, ages, strict=True)])


def test_photos_of_known_age_use_it_in_the_prompt_and_get_negatives_of_that_age():
    plain, with_ages = (
        tiny_trainer(loss="triplet", train_batch_size=3, subject=subject).data
        for subject in (subject_set(3), aged([8, "old", None]))
    )
    by_prompt = {"as child": "child", "as old": "old", "person": None}
    for number in range(200):
        without, batch = plain.sample(number), with_ages.sample(number)
        assert batch.prompts[:3] != without.prompts[:3] and batch.prompts[3:] == without.prompts[3:]
        for name in ("x_0", "noise", "t", "decode", "squares", "references"):
            assert torch.equal(getattr(batch, name), getattr(without, name))
        for place, negative in zip(batch.decode, batch.negatives, strict=True):
            (age,) = [age for words, age in by_prompt.items() if batch.prompts[place].endswith(words)]
            (index,) = [index for index, row in enumerate(with_ages.negatives.vectors) if torch.equal(row, negative)]
            assert age is None or with_ages.regularization.ages[index] == age


def masked(*masks):
    """Returns a subject with one photo per mask."""
    subject = subject_set(len(masks))
    return replace(subject, photos=[replace(p, mask=mask) for p, mask in zip(subject.photos, masks, strict=True)])


LEFT = Image.new("L", (SIDE, SIDE))
LEFT.paste(255, (0, 0, SIDE // 2, SIDE))


def test_masks_weight_the_reconstruction_and_flip_with_their_photo():
    data = tiny_trainer(subject=masked(LEFT, None), train_batch_size=2, background_weight=0.25).data
    half = torch.full((8, 8), 0.25)
    half[:, :4] = 1
    seen = {tuple(row.flatten().tolist()) for number in range(20) for row in data.sample(number).weight}
    assert seen == {tuple(row.flatten().tolist()) for row in (half, half.flip(1), torch.ones(8, 8))}
    assert tiny_trainer(subject=subject_set(2)).data.sample(0).weight is None


def test_face_mask_uses_a_soft_region_around_the_face():
    small = Face((26.0, 26.0, 38.0, 38.0))
    data = tiny_trainer(subject=subject_set(2, [small, None]), train_batch_size=2, face_mask=True).data
    weight = data.sample(0).weight
    assert weight.min().item() == pytest.approx(0.1) and weight.max() == 1
    assert sum(bool((row == 1).all()) for row in weight) == 1, "a photo without a face got a mask"


def test_masks_change_the_run_id_and_their_settings_only_with_masks():
    def run(subject=None, **options):
        return run_id(tiny_trainer(subject=subject, **options))

    white = Image.new("L", (SIDE, SIDE), "white")
    assert run(subject_set(2)) == run(masked(white, None)) == run(subject_set(2), background_weight=0.5)
    runs = {run(subject_set(2)), run(masked(LEFT, None)), run(masked(LEFT, None), background_weight=0.5)}
    assert len(runs | {run(subject_set(2), face_mask=True)}) == 4


def test_a_mask_that_is_black_inside_the_crop_raises():
    subject = subject_set(1, [Face((0.0, 0.0, 8.0, 8.0))])
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (SIDE - 8, SIDE - 8, SIDE, SIDE))
    photos = [replace(photo, mask=mask) for photo in subject.photos]
    with pytest.raises(InvalidData, match=r"0\.png"):
        tiny_trainer(subject=replace(subject, photos=photos), crop="face")


def test_ages_change_the_run_id_and_photo_years_only_with_ages():
    def run(subject=None, **options):
        return run_id(tiny_trainer(subject=subject, **options))

    assert run() == run(photo_years=True) == run(aged([None] * 3))
    assert len({run(), run(aged([8, None, None])), run(aged([8, None, None]), photo_years=True)}) == 3


def test_timesteps_are_uniform_and_noise_is_normal(batches):
    t = torch.cat([batch.t for batch in batches]).double()
    assert t.min() >= 0 and t.max() <= 999
    assert abs(t.mean() - 499.5) < 4 * 288.7 / len(t) ** 0.5
    noise = torch.cat([batch.noise for batch in batches[:50]])
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01


def test_the_latent_window_contains_the_face_and_its_context():
    assert latent_window([(0, 0, 80, 80), (0, 0, 281.6, 281.6)], 64, factor=8) == 36 + 4
    assert latent_window([(0, 0, 500, 500)], 64, factor=8) == 64

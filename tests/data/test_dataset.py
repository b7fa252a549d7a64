from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from tests.parts import FACE, SIDE, picture, regularization_set, subject_set, tiny_trainer
from training.ages import AGE_CLASSES
from training.data.dataset import find_faces, read_regularization_set
from training.dreambooth.batches import latent_window
from training.errors import InvalidData, UserError
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
def test_caption_comes_from_the_name(tmp_path, name, age):
    assert read_regularization_set(folder_of(tmp_path, name)).ages == [age]


def test_file_name_wins_over_folder_and_folder_over_text(tmp_path):
    names = ("elderly/child_1.png", "elderly/a.png", "a.png", "old_1.png")
    texts = dict.fromkeys(("elderly/child_1.txt", "elderly/a.txt", "a.txt", "old_1.txt"), "photo of a teenager")
    found = read_regularization_set(folder_of(tmp_path, *names, captions=texts))
    ages = dict(zip((photo.name for photo in found.photos), found.ages, strict=True))
    assert ages == {"elderly/child_1.png": "child", "elderly/a.png": "elderly", "a.png": "teenager", "old_1.png": "old"}


def test_unknown_captions_are_listed(tmp_path):
    names = ["child_1.png", *(f"{n}.png" for n in range(12))]
    folder = folder_of(tmp_path, *names, captions={"3.txt": "a child and an elderly"})
    with pytest.raises(UserError) as error:
        read_regularization_set(folder)
    assert "12 of 13 images" in str(error.value) and "0.png" in str(error.value) and "and 2 more" in str(error.value)
    assert ", ".join(AGE_CLASSES) in str(error.value)


def test_report_counts_each_class_and_warns_of_empty_ones(tmp_path):
    report = read_regularization_set(folder_of(tmp_path, "child_1.png", "child_2.png", "old_1.png")).report
    assert "3 regularization images: child 2, teenager 0, youngadults 0, middleaged 0, elderly 0, old 1" in report
    assert "Warning: no regularization image for teenager, youngadults, middleaged, elderly;" in report


def marked(face, size=(300, 200)):
    """A grey picture whose face is red."""
    image = Image.new("RGB", size, "grey")
    image.paste((255, 0, 0), tuple(map(int, face.box)))
    return image


def red_box(image):
    pixels = np.asarray(image).astype(int)
    rows, columns = np.nonzero(pixels[..., 0] - pixels[..., 1] > 64)
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


@pytest.mark.parametrize("box", [(120, 60, 160, 110), (2, 3, 42, 53), (260, 150, 298, 198)])
@pytest.mark.parametrize("margin", [0.2, 0.5, 3.0, None])
def test_the_face_is_where_it_is_said_to_be_after_cutting(box, margin):
    square, face = cut_square(marked(Face(box)), Face(tuple(map(float, box))), 128, margin)
    assert square.size == (128, 128)
    assert np.abs(np.array(red_box(square)) - face.box).max() <= 2


def test_margin_is_in_face_sizes():
    _, face = cut_square(marked(Face((120, 60, 160, 100))), Face((120.0, 60.0, 160.0, 100.0)), 160, 0.5)
    assert face.side == pytest.approx(80)  # half of the picture: one face, half a face on each side
    assert face.center == pytest.approx((80, 80))


def test_without_a_face_the_middle_is_cut():
    image = Image.new("RGB", (300, 100), "grey")
    image.paste("red", (140, 40, 160, 60))
    square, face = cut_square(image, None, 100, 0.5)
    assert face is None
    assert red_box(square) == (40, 40, 60, 60)


def test_photos_without_a_face_and_with_many_are_remarked(tmp_path):
    faces = {0: [], 1: [FACE], 2: [FACE, FACE]}
    answers = iter(faces.values())
    found = find_faces(subject_set(3).photos, lambda image: next(answers))
    assert found.faces == [None, FACE, FACE]
    assert len(found.remarks) == 2
    assert "0.png: no face found" in found.remarks[0] and "2.png: 2 faces found" in found.remarks[1]


@pytest.fixture(scope="module")
def data():
    return tiny_trainer(train_batch_size=4, loss="triplet").data


@pytest.fixture(scope="module")
def draws(data):
    return [data.sample(number) for number in range(600)]


def test_faces_are_decoded_with_the_weight_as_probability(draws):
    """So the mean of unweighted losses over decodes is the mean of weighted losses, at every t."""
    t = torch.cat([batch.t[: batch.instances] for batch in draws])
    decoded = torch.cat([torch.isin(torch.arange(batch.instances), batch.decode) for batch in draws]).double()
    weight = (1 - t.double() / 1000) ** 2
    noise = (weight * (1 - weight)).sum().sqrt()
    assert abs(decoded.sum() - weight.sum()) < 4 * noise
    for low in range(0, 1000, 250):
        here = (t >= low) & (t < low + 250)
        spread = (weight[here] * (1 - weight[here])).sum().sqrt()
        assert abs(decoded[here].sum() - weight[here].sum()) < 4 * spread


def test_every_picture_is_used_equally_often(data, monkeypatch):
    used, encode = Counter(), data._posterior
    monkeypatch.setattr(
        data, "_posterior", lambda kind, index, *more: used.update([(kind, index)]) or encode(kind, index, *more)
    )
    for number in range(300):
        data.sample(number)
    assert {used["instance", index] for index in range(3)} == {400}
    assert {used["regularization", index] for index in range(6)} == {200}


def test_flips_move_the_face(data, draws):
    straight, mirrored = FACE.square(), FACE.mirrored(SIDE).square()
    squares = {tuple(square.tolist()) for batch in draws for square in batch.squares}
    rounded = {tuple(round(value, 3) for value in square) for square in squares}
    assert rounded == {tuple(round(value, 3) for value in square) for square in (straight, mirrored)}


def test_negatives_are_faces_of_the_regularization_set(data, draws):
    pool = {tuple(row.tolist()) for row in data.negatives.vectors}
    assert len(data.negatives.vectors) == len(regularization_set().photos)
    assert {tuple(row.tolist()) for batch in draws for row in batch.negatives} == pool


def test_regularization_images_without_a_face_are_counted_where_triplet_leaves_them_out(monkeypatch):
    faceless = regularization_set().photos[1].image().tobytes()
    monkeypatch.setattr("tests.parts.known_place", lambda image: [] if image.tobytes() == faceless else [FACE])
    remarks = []
    trainer = tiny_trainer(loss="triplet", say=lambda *sentences: remarks.extend(sentences))
    assert trainer.data.negatives.ages == [age for age in AGE_CLASSES if age != "teenager"]
    assert ["1 of 6" in remark and "teenager_1.png" in remark for remark in remarks] == [True]


def test_half_the_prompts_are_the_subject_and_half_the_ages(draws):
    assert draws[0].prompts[:4] == ["photo of a sks person"] * 4
    ages = Counter(prompt for batch in draws for prompt in batch.prompts[4:])
    assert set(ages) == {f"photo of a {age}" for age in AGE_CLASSES}
    assert max(ages.values()) - min(ages.values()) <= 1


def aged(ages):
    """A subject of three photos, whose ages are ``ages``."""
    subject = subject_set(3)
    return replace(subject, photos=[replace(photo, age=age) for photo, age in zip(subject.photos, ages, strict=True)])


def test_photos_of_known_age_are_trained_with_it_and_told_from_others_of_that_age():
    plain, known = (
        tiny_trainer(loss="triplet", train_batch_size=3, subject=subject).data
        for subject in (subject_set(3), aged([8, "old", None]))
    )
    by_prompt = {"as child": "child", "as old": "old", "person": None}
    for number in range(200):
        without, batch = plain.sample(number), known.sample(number)
        assert batch.prompts[:3] != without.prompts[:3] and batch.prompts[3:] == without.prompts[3:]
        for name in ("x_0", "noise", "t", "decode", "squares", "references"):
            assert torch.equal(getattr(batch, name), getattr(without, name))
        for place, negative in zip(batch.decode, batch.negatives, strict=True):
            (age,) = [age for words, age in by_prompt.items() if batch.prompts[place].endswith(words)]
            (found,) = [index for index, row in enumerate(known.negatives.vectors) if torch.equal(row, negative)]
            assert age is None or known.regularization.ages[found] == age


def masked(*masks):
    """A subject of as many photos as ``masks``."""
    subject = subject_set(len(masks))
    return replace(subject, photos=[replace(p, mask=mask) for p, mask in zip(subject.photos, masks, strict=True)])


LEFT = Image.new("L", (SIDE, SIDE))
LEFT.paste(255, (0, 0, SIDE // 2, SIDE))


def test_masks_weigh_the_reconstruction_and_turn_with_their_photo():
    data = tiny_trainer(subject=masked(LEFT, None), train_batch_size=2, background_weight=0.25).data
    half = torch.full((8, 8), 0.25)
    half[:, :4] = 1
    seen = {tuple(row.flatten().tolist()) for number in range(20) for row in data.sample(number).weight}
    assert seen == {tuple(row.flatten().tolist()) for row in (half, half.flip(1), torch.ones(8, 8))}
    assert tiny_trainer(subject=subject_set(2)).data.sample(0).weight is None


def test_a_soft_region_around_the_face_takes_the_place_of_masks_by_a_setting():
    small = Face((26.0, 26.0, 38.0, 38.0))
    data = tiny_trainer(subject=subject_set(2, [small, None]), train_batch_size=2, face_mask=True).data
    weight = data.sample(0).weight
    assert weight.min().item() == pytest.approx(0.1) and weight.max() == 1
    assert sum(bool((row == 1).all()) for row in weight) == 1, "no region without a face"


def test_masks_make_another_run_and_their_settings_only_where_there_are_masks():
    def run(subject=None, **options):
        return run_id(tiny_trainer(subject=subject, **options))

    white = Image.new("L", (SIDE, SIDE), "white")
    assert run(subject_set(2)) == run(masked(white, None)) == run(subject_set(2), background_weight=0.5)
    runs = {run(subject_set(2)), run(masked(LEFT, None)), run(masked(LEFT, None), background_weight=0.5)}
    assert len(runs | {run(subject_set(2), face_mask=True)}) == 4


def test_a_mask_that_is_black_where_the_photo_is_trained_is_refused():
    subject = subject_set(1, [Face((0.0, 0.0, 8.0, 8.0))])
    mask = Image.new("L", (SIDE, SIDE))
    mask.paste(255, (SIDE - 8, SIDE - 8, SIDE, SIDE))
    photos = [replace(photo, mask=mask) for photo in subject.photos]
    with pytest.raises(InvalidData, match=r"0\.png"):
        tiny_trainer(subject=replace(subject, photos=photos), crop="face")


def test_ages_make_another_run_and_years_in_prompts_only_where_there_are_ages():
    def run(subject=None, **options):
        return run_id(tiny_trainer(subject=subject, **options))

    assert run() == run(photo_years=True) == run(aged([None] * 3))
    assert len({run(), run(aged([8, None, None])), run(aged([8, None, None]), photo_years=True)}) == 3


def test_timesteps_and_noise_are_uniform_and_normal(draws):
    t = torch.cat([batch.t for batch in draws]).double()
    assert t.min() >= 0 and t.max() <= 999
    assert abs(t.mean() - 499.5) < 4 * 288.7 / len(t) ** 0.5
    noise = torch.cat([batch.noise for batch in draws[:50]])
    assert abs(noise.mean()) < 0.01 and abs(noise.std() - 1) < 0.01


def test_latent_window_holds_the_face_and_its_context():
    assert latent_window([(0, 0, 80, 80), (0, 0, 281.6, 281.6)], 64, factor=8) == 36 + 4
    assert latent_window([(0, 0, 500, 500)], 64, factor=8) == 64

"""Ages and captions of the subject's photos, and the prompts that come of them."""

from dataclasses import replace

import pytest

from tests.parts import FACE, picture, subject_set
from training.ages import AgeEstimate
from training.config import TrainingConfig
from training.data.dataset import estimate_ages
from training.data.prompts import instance_prompt
from training.data.subject_photos import ages_remarks, captions_remarks, listed, other_folders, read_photos, with_ages
from training.errors import UserError


def folder_of(folder, names, captions=None):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(0).save(folder / name)
    for name, text in (captions or {}).items():
        (folder / name).write_text(text)
    return folder


def ages(folder):
    return {photo.name: photo.age for photo in read_photos(folder, "photos")}


@pytest.mark.parametrize(
    ("name", "age"),
    [
        ("34_beach.jpg", 34),
        ("8-year-old at school.png", 8),
        ("0_cot.png", 0),
        ("child_2.jpg", "child"),
        ("34/a.png", 34),
        ("8 years/a.png", 8),
        ("young adult/a.png", "youngadults"),
        ("1987/a.png", None),  # a year of the calendar
        ("10_sks person/a.png", None),  # repeats and a token, as other trainers name their folders
        ("20190704_1200.jpg", None),
        ("12_2020.jpg", None),
        ("01_anna.png", None),
        ("101_anna.png", None),
        ("34.png", None),  # it may count
        ("anna.png", None),
    ],
)
def test_age_of_a_photo(tmp_path, name, age):
    assert ages(folder_of(tmp_path, [name])) == {name: age}


def test_a_caption_says_the_age_where_name_and_folder_say_nothing(tmp_path):
    texts = {"a.txt": "a 71-year-old in a garden", "b.txt": "photo of a child", "c.txt": "a child beside an old",
             "d.txt": "in a garden"}  # fmt: skip
    found = ages(folder_of(tmp_path, ["a.png", "b.png", "c.png", "d.png"], texts))
    assert list(found.values()) == [71, "child", None, None]


def test_numbers_that_count_the_photos_are_no_ages(tmp_path):
    names = [f"{number}_anna.png" for number in (3, 1, 2)]
    assert set(ages(folder_of(tmp_path, names)).values()) == {None}
    folder_of(tmp_path, ["71_anna.png"])
    assert set(ages(tmp_path).values()) == {1, 2, 3, 71}


def test_years_in_words_count_nothing(tmp_path):
    assert list(ages(folder_of(tmp_path, [f"{n} years.png" for n in (1, 2, 3)])).values()) == [1, 2, 3]


@pytest.mark.parametrize(
    ("name", "caption", "sentence"),
    [
        ("child_1.png", "an old", "its name says child, its caption says old"),
        ("34/8_school.png", "", "its name says 8 years, its folder says 34 years"),
        ("old/34_x.png", "", "its name says 34 years, its folder says old"),
    ],
)
def test_ages_that_contradict_each_other_are_refused(tmp_path, name, caption, sentence):
    with pytest.raises(UserError, match=sentence):
        ages(folder_of(tmp_path, [name], {name.replace("png", "txt"): caption}))


def test_a_class_and_years_within_it_agree(tmp_path):
    assert ages(folder_of(tmp_path, ["young adult/28_x.png"])) == {"young adult/28_x.png": 28}


def test_a_list_of_ages_overrules_names_and_leaves_unknown_what_it_does_not_know():
    photos = [replace(photo, age="old") for photo in subject_set(4).photos]
    found = with_ages(photos, "8, ?, Young Adult, 71")
    assert [photo.age for photo in found] == [8, None, "youngadults", 71]
    assert listed(found) == "8, ?, youngadults, 71" and with_ages(photos, listed(found)) == found
    assert with_ages(photos, "names") == photos


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("8, 9, 10, 11", "3 photos but 4 ages"), ("8", "3 photos but 1 ages"), ("8, 9, ancient", "'ancient' is not an")],
)
def test_lists_that_fit_no_photos_are_refused(text, sentence):
    with pytest.raises(UserError, match=sentence):
        with_ages(subject_set(3).photos, text)


def test_ages_are_estimated_only_where_a_face_has_none():
    subject = subject_set(3, [FACE, FACE, None])
    known = replace(subject, photos=[replace(subject.photos[0], age=8), *subject.photos[1:]])
    found = estimate_ages(known, lambda image, face: AgeEstimate(71.0, "elderly"))
    assert [photo.age for photo in found.photos] == [8, "elderly", None]


def test_what_is_known_and_what_is_made_of_it_is_said():
    photos = [replace(photo, caption="in a garden") for photo in subject_set(3).photos]
    (unused,), (used,) = captions_remarks(photos, used=False), captions_remarks(photos, used=True)
    assert "3 of 3 photos have a .txt beside them" in unused and "are not their prompts" in unused
    assert "are their prompts" in used
    said = ages_remarks([replace(photos[0], age=8), *photos[1:]])
    assert said[0] == "Ages of the photos, in order: 8, ?, ?." and said[1].startswith("2 of 3 photos have no known age")
    assert ages_remarks(photos) == captions_remarks(subject_set(3).photos, used=True) == []


CONFIG = TrainingConfig(class_word="woman")


@pytest.mark.parametrize(
    ("config", "age", "caption", "prompt"),
    [
        ({}, None, None, "photo of a sks woman"),
        ({}, "child", None, "photo of a sks woman as child"),
        ({}, 8, None, "photo of a sks woman as child"),
        ({"photo_years": True}, 8, None, "photo of a sks woman as 8-year-old"),
        ({"photo_years": True}, "child", None, "photo of a sks woman as child"),
        ({"instance_prompt": "{age} {token}"}, 8, None, "child sks"),
        ({}, None, "a woman in a garden", "a sks woman in a garden"),
        ({}, None, "sks smiles beside a woman", "sks smiles beside a woman"),
        ({}, None, "in a garden", "photo of a sks woman, in a garden"),
        ({}, 8, "in a garden", "photo of a sks woman as child, in a garden"),
        ({}, 34, "a Woman beside a woman", "a sks Woman beside a woman, as youngadults"),
        ({}, 34, "a 34-year-old woman", "a 34-year-old sks woman"),
    ],
)
def test_prompts_of_photos(config, age, caption, prompt):
    assert instance_prompt(replace(CONFIG, **config), age, caption) == prompt


def test_sub_folders_that_no_age_names_are_read_by_a_switch_only(tmp_path):
    folder = folder_of(tmp_path, ["a.png", "child/b.png", "ages/c.png", "34/raw/d.png"])
    assert (others := other_folders(folder)) == ["34/raw", "ages"]
    assert [photo.name for photo in read_photos(folder, "photos", others)] == ["a.png", "child/b.png"]
    assert len(read_photos(folder, "photos")) == 4


def test_a_folder_with_nothing_but_other_folders_says_so(tmp_path):
    folder = folder_of(tmp_path, ["photos/a.png", "ages/b.png"])
    with pytest.raises(UserError, match=r"sub-folders \(ages, photos\)"):
        read_photos(folder, "photos", other_folders(folder))

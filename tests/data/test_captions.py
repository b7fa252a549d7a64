"""Ages and captions of the subject's photos, and the prompts made from them."""

import codecs
import re
from dataclasses import replace

import pytest

from tests.parts import FACE, picture, subject_set
from training.ages import AgeEstimate
from training.config import TrainingConfig
from training.data.dataset import estimate_ages, read_regularization_set
from training.data.prompts import instance_prompt
from training.data.subject_photos import ages_remarks, captions_remarks, listed, other_folders, read_photos, with_ages
from training.errors import InvalidData, InvalidSetting


def folder_of(folder, names, captions=None):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(0).save(folder / name)
    for name, text in (captions or {}).items():
        (folder / name).write_text(text, encoding="utf-8")
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
        ("10_sks person/a.png", None),  # other trainers name folders by repeats and token
        ("20190704_1200.jpg", None),
        ("12_2020.jpg", None),
        ("01_anna.png", None),
        ("101_anna.png", None),
        ("34.png", None),  # may be a running number
        ("anna.png", None),
    ],
)
def test_age_of_a_photo(tmp_path, name, age):
    assert ages(folder_of(tmp_path, [name])) == {name: age}


def test_the_age_comes_from_the_caption_if_file_and_folder_name_have_none(tmp_path):
    texts = {"a.txt": "a 71-year-old in a garden", "b.txt": "photo of a child", "c.txt": "a child beside an old",
             "d.txt": "in a garden", "e.txt": "一个45-year-old女人"}  # fmt: skip
    by_name = ages(folder_of(tmp_path, ["a.png", "b.png", "c.png", "d.png", "e.png"], texts))
    assert list(by_name.values()) == [71, "child", None, None, 45]


def test_numbers_that_count_the_photos_are_not_ages(tmp_path):
    names = [f"{number}_anna.png" for number in (3, 1, 2)]
    assert set(ages(folder_of(tmp_path, names)).values()) == {None}
    folder_of(tmp_path, ["71_anna.png"])
    assert set(ages(tmp_path).values()) == {None}


def test_numbers_followed_by_years_are_ages_even_if_consecutive(tmp_path):
    assert list(ages(folder_of(tmp_path, [f"{n} years.png" for n in (1, 2, 3)])).values()) == [1, 2, 3]


TEXT = "a woman, né 王小明, in a garden"


@pytest.mark.parametrize(
    "content",
    [
        TEXT.encode("utf-8"),
        codecs.BOM_UTF8 + TEXT.encode("utf-8"),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),  # Notepad's "Unicode"
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
        (TEXT.replace(", ", ",\r\n\t") + "\n").encode("utf-8"),
    ],
)
def test_a_byte_order_mark_gives_the_encoding_and_is_no_text(tmp_path, content):
    folder_of(tmp_path, ["a.png"])
    (tmp_path / "a.txt").write_bytes(content)
    assert [photo.caption for photo in read_photos(tmp_path, "photos")] == [TEXT]


@pytest.mark.parametrize(
    "content",
    [
        TEXT.replace("王小明", "").encode("latin-1"),
        "一个女人".encode("gb18030"),
        "庭の中の女性".encode("shift-jis"),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        "a woman".encode("utf-16-le"),
        codecs.BOM_UTF16_LE + b"a\0b",
        bytes(range(32)),
    ],
)
def test_captions_that_are_no_text_are_refused_by_name(tmp_path, content):
    folder_of(tmp_path, ["child_1.png"])
    file = tmp_path / "child_1.txt"
    file.write_bytes(content)
    for read in (lambda: read_photos(tmp_path, "photos"), lambda: read_regularization_set(tmp_path)):
        with pytest.raises(InvalidData, match=re.escape(str(file))):
            read()


@pytest.mark.parametrize(
    ("name", "caption", "values"),
    [
        ("child_1.png", "an old", "name.*child.*caption.*old"),
        ("34/8_school.png", "", "name.*8 years.*folder.*34 years"),
        ("old/34_x.png", "", "name.*34 years.*folder.*old"),
    ],
)
def test_contradicting_ages_raise(tmp_path, name, caption, values):
    with pytest.raises(InvalidData, match=rf"{re.escape(name)}.*{values}"):
        ages(folder_of(tmp_path, [name], {name.replace("png", "txt"): caption}))


def test_a_class_and_years_within_it_agree(tmp_path):
    assert ages(folder_of(tmp_path, ["young adult/28_x.png"])) == {"young adult/28_x.png": 28}


def test_a_list_of_ages_replaces_the_ages_from_names():
    photos = [replace(photo, age="old") for photo in subject_set(4).photos]
    relabelled = with_ages(photos, "8, ?, Young Adult, 71")
    assert [photo.age for photo in relabelled] == [8, None, "youngadults", 71]
    assert listed(relabelled) == "8, ?, youngadults, 71" and with_ages(photos, listed(relabelled)) == relabelled
    assert with_ages(photos, "names") == photos


@pytest.mark.parametrize(
    ("text", "values"),
    [("8, 9, 10, 11", "4 ages.* 3 photos"), ("8", "1 ages.* 3 photos"), ("8, 9, ancient", "'ancient'")],
)
def test_a_list_of_another_length_or_with_other_words_raises(text, values):
    with pytest.raises(InvalidSetting, match=values):
        with_ages(subject_set(3).photos, text)


def test_ages_are_estimated_only_for_faces_without_a_known_age():
    subject = subject_set(3, [FACE, FACE, None])
    one_age = replace(subject, photos=[replace(subject.photos[0], age=8), *subject.photos[1:]])
    estimated = estimate_ages(one_age, lambda image, face: AgeEstimate(71.0, "elderly"))
    assert [photo.age for photo in estimated.photos] == [8, "elderly", None]


def test_remarks_list_the_ages_and_the_use_of_captions():
    photos = [replace(photo, caption="in a garden") for photo in subject_set(3).photos]
    (unused,), (used,) = captions_remarks(photos, used=False), captions_remarks(photos, used=True)
    assert used != unused and all("3 of 3 photos" in remark and ".txt" in remark for remark in (used, unused))
    listing, unknown = ages_remarks([replace(photos[0], age=8), *photos[1:]])
    assert "8, ?, ?" in listing and "2 of 3 photos" in unknown
    assert ages_remarks(photos) == captions_remarks(subject_set(3).photos, used=True) == []


def test_remarks_say_where_ages_are_from_and_name_unclear_numbers(tmp_path):
    photos = read_photos(
        folder_of(tmp_path / "agedb", ["17_MariaCallas_40_f.png", "18_MariaCallas_41_f.png"]), "photos"
    )
    assert any("AgeDB" in remark and "2 of 2" in remark for remark in ages_remarks(photos))
    assert not any("AgeDB" in remark for remark in ages_remarks(with_ages(photos, "40, ?")))
    (remark,) = ages_remarks(read_photos(folder_of(tmp_path / "own", ["3_anna.png", "4_anna.png", "x.png"]), "photos"))
    assert "2 of 3" in remark and "3_anna.png" in remark and "4_anna.png" in remark and "x.png" not in remark


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
        ({"class_word": "女人"}, None, "一个女人在花园里", "一个sks 女人在花园里"),
        ({}, None, "一个sks女人在花园里", "一个sks女人在花园里"),
        ({"class_word": "女性"}, None, "庭の中の女性です", "庭の中のsks 女性です"),
        ({"class_word": "여자"}, None, "정원에 있는 여자가 웃는다", "정원에 있는 sks 여자가 웃는다"),
        ({}, None, "sks가 웃는다", "sks가 웃는다"),
        ({}, None, "庭のwomanです", "庭のsks womanです"),
        ({"token": "安娜"}, None, "安娜在花园里", "安娜在花园里"),
        ({"token": "<anna>"}, None, "a smiling <anna> outside", "a smiling <anna> outside"),
        ({}, None, "a sksy womanizer", "photo of a sks woman, a sksy womanizer"),
        ({"class_word": "жена"}, None, "моя жена и женат", "моя sks жена и женат"),
    ],
)
def test_prompts_of_photos(config, age, caption, prompt):
    assert instance_prompt(replace(CONFIG, **config), age, caption) == prompt


def test_sub_folders_not_named_by_age_can_be_skipped(tmp_path):
    folder = folder_of(tmp_path, ["a.png", "child/b.png", "ages/c.png", "34/raw/d.png"])
    assert (others := other_folders(folder)) == ["34/raw", "ages"]
    assert [photo.name for photo in read_photos(folder, "photos", others)] == ["a.png", "child/b.png"]
    assert len(read_photos(folder, "photos")) == 4


def test_the_error_for_a_folder_with_only_skipped_sub_folders_names_them(tmp_path):
    folder = folder_of(tmp_path, ["photos/a.png", "ages/b.png"])
    with pytest.raises(InvalidData, match=rf"{re.escape(str(folder))}.*\(ages, photos\)"):
        read_photos(folder, "photos", other_folders(folder))

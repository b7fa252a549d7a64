"""Folders of people as they really are: photos without faces, too small, twice, damaged, or of two ages at once."""

import os
import re
import weakref
from dataclasses import dataclass, field

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.parts import FACE, known_place
from training.__main__ import main
from training.ages import age_of
from training.data.dataset import find_faces, read_regularization_set
from training.data.quality import PhotoQuality, quality_remarks
from training.errors import UserError
from training.faces.find import MTCNNDetector, RememberingDetector
from training.faces.observation import Observation
from training.pictures.photos import Photo
from training.report.build import build
from training.report.page import page

NO_FACES = [(1, 1), (12, 12), (19, 19), (19, 400), (20, 1024), (3000, 40), (40, 3000), (4000, 1), (8000, 100)]


def noise(size):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


def test_pictures_of_any_shape_have_no_face_and_are_counted():
    photos = [Photo(f"{width}x{height}", noise((width, height))) for width, height in NO_FACES]
    found = find_faces(photos, MTCNNDetector())
    assert found.faces == [None] * len(NO_FACES)
    assert [remark.split(":")[0] for remark in found.remarks] == [photo.name for photo in photos]


def test_score_counts_pictures_that_are_too_small_for_a_face(tmp_path, astronaut, capsys):
    for folder, picture in (("photos", astronaut), ("drawn", noise((19, 19)))):
        (tmp_path / folder).mkdir()
        picture.save(tmp_path / folder / "old.png")
    sets = ["--reference", f"{tmp_path}/photos", "--images", f"{tmp_path}/drawn", "--embedder", "untrained"]
    assert main(["score", *sets]) == 0
    assert "failures to detect: 1 of 1 images" in capsys.readouterr().out


def test_the_page_shows_pictures_whose_names_are_no_utf8(tmp_path, astronaut):
    name = os.fsdecode("old_Jos\u00e9.png".encode("latin-1"))
    for folder in ("photos", "drawn"):
        (tmp_path / folder).mkdir()
        astronaut.save(tmp_path / folder / name)
    sets = ["--reference", f"{tmp_path}/photos", "--images", f"{tmp_path}/drawn", "--embedder", "untrained"]
    assert main(["score", *sets, "--report", f"{tmp_path}/a.html"]) == 0
    shown = (tmp_path / "a.html").read_text("utf-8")
    assert "old_Jos" in shown and shown.count("data:image/jpeg") == 1


def test_training_names_every_damaged_picture_of_both_folders_before_it_begins(tmp_path, capsys):
    for name in ("photos/a.png", "photos/b.png", "ages/child_1.png", "ages/old_1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        noise((64, 64)).save(tmp_path / name)
    for name in ("photos/b.png", "ages/old_1.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:200])
    sets = ["--subject", f"{tmp_path}/photos", "--regularization", f"{tmp_path}/ages", "--out", f"{tmp_path}/out"]
    assert main(["train", "--checkpoint", "none.safetensors", "--loss", "none", *sets]) == 2
    assert re.search(r"2 files cannot be read as images: .*b\.png .*old_1\.png", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


TWO_AGES = {  # file name: the classes in it, of which an error speaks
    "old photo of a child.png": "child, old",
    "child-or-teenager_3.png": "child, teenager",
    "young adult, not middle-aged.png": "middleaged, youngadults",
    "child_8_years_old.png": None,
    "old_woman_80-years-old.png": None,
    "child_0001.png": None,
}


@pytest.mark.parametrize("name", TWO_AGES)
def test_two_ages_in_a_name_are_an_error_that_lists_them_all(tmp_path, name):
    noise((8, 8)).save(tmp_path / "elderly_1.png")
    noise((8, 8)).save(tmp_path / name)
    if TWO_AGES[name] is None:
        assert len(read_regularization_set(tmp_path).ages) == 2
        return
    assert age_of(name) is None
    noise((8, 8)).save(tmp_path / "child and elderly.png")
    with pytest.raises(UserError, match=r"2 of 3 images in .* have more than one age class in their names") as error:
        read_regularization_set(tmp_path)
    assert f"{name} ({TWO_AGES[name]})" in str(error.value)
    assert "child and elderly.png (child, elderly)" in str(error.value)


def quality(name, image):
    return PhotoQuality.of(name, image, None, None)


def test_small_blurred_and_few_photos_are_remarked_and_good_ones_are_not(astronaut):
    turned = [astronaut.rotate(90 * quarter) for quarter in range(4)]
    assert quality_remarks([quality(str(n), image) for n, image in enumerate(turned[:3])], [512] * 3) == []
    blurred, small = turned[1].filter(ImageFilter.GaussianBlur(6)), turned[2].resize((60, 73))
    said = quality_remarks([quality("blurred", blurred), quality("small", small)], [512, 128])
    assert said[0].startswith("Only 2 photos")
    assert said[1].startswith("blurred: blurred")
    assert said[2].startswith("small: small") and "60" in said[2] and "128" in said[2]
    assert quality_remarks([quality("small", small)] * 3, [120] * 3)[0].startswith("small repeats")
    twice = [quality(name, image) for name, image in zip("abc", (turned[0], turned[1], turned[0]), strict=True)]
    (repeat,) = quality_remarks(twice, [512] * 3)
    assert repeat.startswith("c repeats a")


def test_every_picture_is_searched_once(monkeypatch):
    monkeypatch.setattr("training.faces.find.REMEMBERED", 2)
    searched = []
    find = RememberingDetector(lambda image: searched.append(image.size) or known_place(image))
    for side in (8, 9, 8, 9, 10, 9, 8):
        assert find(Image.new("RGB", (side, side))) == [FACE]
    assert searched == [(8, 8), (9, 9), (10, 10), (8, 8)], "of more than two, the oldest is forgotten"


@dataclass(frozen=True)
class CountedPhoto(Photo):
    """Keeps count of the pictures that are in memory at once."""

    read: list = field(default_factory=list)
    counts: list = field(default_factory=list)

    def image(self):
        picture = Image.new("RGB", (8, 8))
        self.read.append(weakref.ref(picture))
        self.counts.append(sum(one() is not None for one in self.read))
        return picture


def test_a_report_holds_one_picture_at_a_time():
    read, counts = [], []
    names = [str(number) for number in range(20)]
    report = build([Observation(name, None) for name in names], [Observation("photo", None)], "one")
    page(report, {name: CountedPhoto(name, Image.new("RGB", (8, 8)), read=read, counts=counts) for name in names})
    assert len(counts) == 20 and max(counts) <= 2

"""Photo folders with faults: images that have no face, are too small, repeated or damaged, or name two ages."""

import json
import os
import re
import weakref
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.hostile.results import assert_holds, assert_told, refused
from tests.parts import FACE, known_place
from training.__main__ import main
from training.ages import age_of
from training.data.dataset import find_faces, read_regularization_set
from training.data.quality import PhotoQuality, quality_remarks, shared_remarks
from training.faces.find import MTCNNDetector, RememberingDetector
from training.faces.observation import Observation
from training.pictures.photos import Photo
from training.pictures.repeats import signature
from training.report.build import Networks, build
from training.report.page import page

NO_FACES = [(1, 1), (12, 12), (19, 19), (19, 400), (20, 1024), (3000, 40), (40, 3000), (4000, 1), (8000, 100)]


def noise(size):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


def test_images_of_any_shape_without_a_face_are_reported():
    photos = [Photo(f"{width}x{height}", noise((width, height))) for width, height in NO_FACES]
    subject = find_faces(photos, MTCNNDetector())
    assert subject.faces == [None] * len(NO_FACES)
    for photo, remark in zip(photos, subject.remarks, strict=True):
        assert photo.name in remark


def test_score_counts_images_that_are_too_small_for_a_face(tmp_path, astronaut):
    for folder, image in (("photos", astronaut), ("generated", noise((19, 19)))):
        (tmp_path / folder).mkdir()
        image.save(tmp_path / folder / "old.png")
    folders = ["--reference", f"{tmp_path}/photos", "--images", f"{tmp_path}/generated", "--embedder", "untrained"]
    assert main(["score", *folders, "--report", f"{tmp_path}/report.json"]) == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert len(report["images"]) == 1 and report["summary"]["failures_to_detect"] == 1


def test_the_page_shows_images_whose_names_are_not_utf8(tmp_path, astronaut):
    name = os.fsdecode("old_Jos\u00e9.png".encode("latin-1"))
    for folder in ("photos", "generated"):
        (tmp_path / folder).mkdir()
        astronaut.save(tmp_path / folder / name)
    folders = ["--reference", f"{tmp_path}/photos", "--images", f"{tmp_path}/generated", "--embedder", "untrained"]
    assert main(["score", *folders, "--report", f"{tmp_path}/a.html"]) == 0
    html = (tmp_path / "a.html").read_text("utf-8")
    assert "old_Jos" in html and html.count("data:image/jpeg") == 1


def test_damaged_images_of_both_folders_are_named_before_training(tmp_path, capsys):
    for name in ("photos/a.png", "photos/b.png", "ages/child_1.png", "ages/old_1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        noise((64, 64)).save(tmp_path / name)
    for name in ("photos/b.png", "ages/old_1.png"):
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:200])
    folders = ["--subject", f"{tmp_path}/photos", "--regularization", f"{tmp_path}/ages", "--out", f"{tmp_path}/out"]
    assert main(["train", "--checkpoint", "none.safetensors", "--loss", "none", *folders]) == 2
    stderr = capsys.readouterr().err
    assert_told(stderr, 2, tmp_path / "photos" / "b.png", tmp_path / "ages" / "old_1.png")
    assert "a.png" not in stderr and "child_1.png" not in stderr
    assert not (tmp_path / "out").exists()


TWO_AGES = {  # file name: the age classes in it that make it ambiguous, or None
    "old photo of a child.png": "child, old",
    "child-or-teenager_3.png": "child, teenager",
    "young adult, not middle-aged.png": "middleaged, youngadults",
    "child_8_years_old.png": None,
    "old_woman_80-years-old.png": None,
    "child_0001.png": None,
}


@pytest.mark.parametrize("name", TWO_AGES)
def test_every_name_with_two_age_classes_is_listed_in_the_error(tmp_path, name):
    noise((8, 8)).save(tmp_path / "elderly_1.png")
    noise((8, 8)).save(tmp_path / name)
    if TWO_AGES[name] is None:
        assert len(read_regularization_set(tmp_path).ages) == 2
        return
    assert age_of(name) is None
    noise((8, 8)).save(tmp_path / "child and elderly.png")
    listed = [f"{name} ({TWO_AGES[name]})", "child and elderly.png (child, elderly)"]
    with refused(tmp_path, 2, 3, *listed):
        read_regularization_set(tmp_path)


def quality(name, image):
    return PhotoQuality.of(name, image, None, None)


def test_small_blurred_and_few_photos_are_reported_and_good_ones_are_not(astronaut):
    turned = [astronaut.rotate(90 * quarter) for quarter in range(4)]
    assert quality_remarks([quality(str(n), image) for n, image in enumerate(turned[:3])], [512] * 3) == []
    blurred, small = turned[1].filter(ImageFilter.GaussianBlur(6)), turned[2].resize((60, 73))
    few, first, second = quality_remarks([quality("a.png", blurred), quality("b.png", small)], [512, 128])
    assert_holds(few, 2)
    assert_holds(first, "a.png")
    assert "px" not in first, "it is blurred, and not small"
    assert_holds(second, "b.png", 60, 128)
    repeats = quality_remarks([quality("b.png", small)] * 3, [120] * 3)
    assert len(repeats) == 2 and not any("px" in remark for remark in repeats), "60 px are enough for 120"
    twice = [quality(name, image) for name, image in zip("abc", (turned[0], turned[1], turned[0]), strict=True)]
    (repeat,) = quality_remarks(twice, [512] * 3)
    assert re.findall(r"\b[abc]\b", repeat)[:2] == ["c", "a"]


def test_photos_that_are_also_in_the_regularization_set_are_named_whatever_their_file(astronaut):
    own = [Photo(f"{n}.png", astronaut.rotate(90 * n)) for n in range(3)]
    memory = BytesIO()
    own[1].image().resize((300, 300)).save(memory, "JPEG", quality=40)
    others = [Photo("child_1.png", noise((64, 64))), Photo("old/x.jpg", Image.open(memory).convert("RGB"))]
    signatures = [signature(photo.image()) for photo in (*own, *others)]
    (warning,) = shared_remarks(own, others, signatures)
    assert_holds(warning, 1, 3, "1.png (old/x.jpg)")
    assert shared_remarks(own, others[:1], signatures[:4]) == shared_remarks(own, [], signatures[:3]) == []


def test_repeated_images_are_searched_once(monkeypatch):
    monkeypatch.setattr("training.faces.find.REMEMBERED", 2)
    searched = []
    find = RememberingDetector(lambda image: searched.append(image.size) or known_place(image))
    for side in (8, 9, 8, 9, 10, 9, 8):
        assert find(Image.new("RGB", (side, side))) == [FACE]
    assert searched == [(8, 8), (9, 9), (10, 10), (8, 8)], "only the last two are remembered"


@dataclass(frozen=True)
class CountedPhoto(Photo):
    """Counts how many of its images are in memory at the same time."""

    read: list = field(default_factory=list)
    counts: list = field(default_factory=list)

    def image(self):
        image = Image.new("RGB", (8, 8))
        self.read.append(weakref.ref(image))
        self.counts.append(sum(reference() is not None for reference in self.read))
        return image


def test_a_report_holds_few_images_in_memory():
    read, counts = [], []
    names = [str(number) for number in range(20)]
    report = build([Observation(name, None) for name in names], [Observation("photo", None)], Networks("one"))
    page(report, {name: CountedPhoto(name, Image.new("RGB", (8, 8)), read=read, counts=counts) for name in names})
    assert len(counts) == 20 and max(counts) <= 2

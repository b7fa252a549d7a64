"""The warning about photos of several people, with synthetic people and their embedder."""

import pytest
import torch
from PIL import Image

from training.catalogue import load_embedder
from training.data.dataset import SubjectSet, find_faces
from training.data.people import people_remarks
from training.faces.crops import SquareCrop
from training.faces.embedders import Facts, Thresholds
from training.faces.find import Face
from training.faces.observation import Observer
from training.pictures.photos import Photo
from training.world.render.photos import SUBJECT, photos


@pytest.fixture(scope="module")
def observer():
    embedder = load_embedder("drawn-score")
    assert embedder.detector
    return Observer(embedder.detector, embedder)


def remarks(observer, *people):
    pictures = [picture for person, count in people for picture in photos(person, 28, count)]
    named = [Photo(f"{number}.png", picture) for number, picture in enumerate(pictures)]
    return people_remarks(find_faces(named, observer.detector), observer)


def test_no_warning_for_photos_of_one_person(observer):
    assert remarks(observer, (SUBJECT, 8)) == []
    assert remarks(observer, (SUBJECT, 1)) == []


def test_the_warning_names_a_photo_of_another_person(observer):
    (warning,) = remarks(observer, (SUBJECT, 6), (SUBJECT + 1, 1))
    assert "1 of 7 faces" in warning and " 6.png." in warning


def test_the_warning_counts_all_photos_in_a_folder_of_different_people(observer):
    (warning,) = remarks(observer, *((SUBJECT + number, 1) for number in range(14)))
    assert "14 of 14 faces" in warning and "4 more" in warning


def test_no_warning_about_the_subject_at_another_age_if_the_ages_are_known(observer):
    pictures = [*photos(SUBJECT, 28, 3), *photos(SUBJECT + 1, 8, 3)]  # as different as a child and the adult it becomes
    ages = [28] * 3 + ["child"] * 3
    for photo_ages, warnings in ((ages, 0), ([None] * 6, 1)):
        named = [
            Photo(f"{number}.png", picture, age)
            for number, (picture, age) in enumerate(zip(pictures, photo_ages, strict=True))
        ]
        assert len(people_remarks(find_faces(named, observer.detector), observer)) == warnings


def test_the_warning_uses_the_threshold_of_the_matcher():
    """This matcher gives high similarities to everyone, as dlib does: 0.96 for one person, 0.87 between people."""
    vectors = torch.tensor([[1.0, 0.0, 0.0], [0.96, 0.28, 0.0], [0.96, 0.0, 0.28], [0.87, -0.35, -0.35]])

    def embedder(crops):
        return vectors[round(crops.mean().add(1).item() * 127.5 / 20)][None]

    embedder.name, embedder.crop = "like dlib", SquareCrop(8)
    embedder.facts = Facts(thresholds=Thresholds(0.9, 0.95, 1000, 0.1, "nowhere"))
    photos = [Photo(f"{number}.png", Image.new("RGB", (64, 64), (20 * number,) * 3)) for number in range(4)]
    subject = SubjectSet(photos, [Face((8, 8, 56, 56))] * 4, [])
    (warning,) = people_remarks(subject, Observer(lambda image: [], embedder))
    assert "1 of 4 faces" in warning and " 3.png." in warning

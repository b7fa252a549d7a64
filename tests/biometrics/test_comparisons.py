import re

import numpy as np
import pytest
import torch

from training.biometrics.comparisons import against, among
from training.faces.find import Face
from training.faces.observation import Observation
from training.report.text import mean, score_table


def observed(name, *values, age=None):
    """Returns an observation with the embedding ``values``, or without a face."""
    if not values:
        return Observation(name, age)
    vector = torch.tensor(values, dtype=torch.float32)
    return Observation(name, age, Face((0, 0, 1, 1)), vector / vector.norm())


REFERENCES = [observed("a.jpg", 1, 0, 0), observed("b.jpg", 1, 1, 0), observed("c.jpg", 0, 1, 1), observed("d.jpg")]
IMAGES = [
    observed("child.png", 1, 2, 0, age="child"),
    observed("45-year-old.png", age=45),
    observed("old.png", 0, 0, -1),
]


def cosines(item, others):
    return [
        float(np.dot(item.vector, other.vector) / np.linalg.norm(item.vector) / np.linalg.norm(other.vector))
        for other in others
        if other.vector is not None
    ]


def table(images=IMAGES, references=REFERENCES):
    return score_table(against(images, references), among(references), "a matcher")


def test_similarities_are_cosines_to_references_with_a_face():
    compared = against(IMAGES, REFERENCES)
    for number in (0, 2):
        expected = cosines(IMAGES[number], REFERENCES)
        assert compared.means[number] == pytest.approx(np.mean(expected), abs=1e-6)
        similarity, reference = compared.best(number)
        assert similarity == pytest.approx(max(expected), abs=1e-6)
        assert reference is REFERENCES[int(np.argmax(expected))]


def test_references_are_not_compared_with_themselves_and_each_pair_counts_once():
    a, b, c, _ = REFERENCES
    expected = [np.mean(cosines(a, [b, c])), np.mean(cosines(b, [a, c])), np.mean(cosines(c, [a, b]))]
    yardstick = among(REFERENCES)
    assert yardstick.means[:3] == pytest.approx(expected, abs=1e-6) and yardstick.means[3] is None
    assert mean(yardstick) == pytest.approx(np.mean(expected), abs=1e-6)
    assert yardstick.each_pair_once().similarities == pytest.approx(cosines(a, [b, c]) + cosines(b, [c]), abs=1e-6)


def test_images_without_a_face_are_flagged_and_counted_but_not_in_means():
    compared = against(IMAGES, REFERENCES)
    assert compared.means[1] is compared.best(1) is None
    assert compared.failures_to_detect == among(REFERENCES).failures_to_detect == 1
    assert mean(compared) == pytest.approx((compared.means[0] + compared.means[2]) / 2)
    assert "1 of 3" in table()
    assert [line.split()[-1] for line in table().splitlines()[2:5]] == ["found", "FOUND", "found"]


def test_one_reference_has_no_yardstick():
    references = [observed("a.jpg", 1, 0)]
    assert mean(among(references)) is None
    yardstick = re.compile(r"yardstick.*\d\.\d")
    assert yardstick.search(table()) and not yardstick.search(table(references, references))
    assert mean(against([observed("old.png", 1, 1)], references)) == pytest.approx(0.5**0.5, abs=1e-6)


def test_without_a_reference_face_there_are_no_similarities():
    faceless = [observed("a.jpg"), observed("b.jpg")]
    assert against(IMAGES, faceless).means == [None] * 3
    assert "2 reference photos" in table(references=faceless)


def test_failures_to_detect_have_no_mean():
    assert mean(against([observed("x.png")], REFERENCES)) is None


def test_selected_images_keep_their_similarities():
    compared = against(IMAGES, REFERENCES)
    assert compared.of([2]).means == [compared.means[2]] and compared.of([2]).pictures == (IMAGES[2],)

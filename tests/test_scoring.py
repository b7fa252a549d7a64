import numpy as np
import pytest
import torch

from training.scoring import age_of, score


def unit(*values):
    vector = torch.tensor(values, dtype=torch.float32)
    return vector / vector.norm()


REFERENCES = {"a.jpg": unit(1, 0, 0), "b.jpg": unit(1, 1, 0), "c.jpg": unit(0, 1, 1), "d.jpg": None}
IMAGES = {"child.png": unit(1, 2, 0), "45-year-old.png": None, "old.png": unit(0, 0, -1)}


@pytest.fixture
def report():
    return score(IMAGES, REFERENCES, "a matcher")


def cosines(vector, others):
    vector, others = vector.numpy(), [other.numpy() for other in others]
    return [float(vector @ other / np.linalg.norm(vector) / np.linalg.norm(other)) for other in others]


def test_similarities_are_cosines_to_the_references_with_a_face(report):
    known = [vector for vector in REFERENCES.values() if vector is not None]
    for row in report.images:
        if row.face_found:
            expected = cosines(IMAGES[row.image], known)
            assert row.mean_similarity == pytest.approx(np.mean(expected), abs=1e-6)
            assert row.best_similarity == pytest.approx(max(expected), abs=1e-6)
            assert row.best_reference == list(REFERENCES)[int(np.argmax(expected))]


def test_references_are_compared_with_the_others_only(report):
    a, b, c = (REFERENCES[name] for name in ("a.jpg", "b.jpg", "c.jpg"))
    expected = [np.mean(cosines(a, [b, c])), np.mean(cosines(b, [a, c])), np.mean(cosines(c, [a, b]))]
    assert [row.mean_similarity for row in report.references[:3]] == pytest.approx(expected, abs=1e-6)
    assert report.summary()["leave_one_out_similarity"] == pytest.approx(np.mean(expected), abs=1e-6)


def test_pictures_without_a_face_are_flagged_counted_and_left_out_of_means(report):
    missing = report.images[1]
    assert (missing.image, missing.age, missing.face_found, missing.mean_similarity) == (
        "45-year-old.png",
        45,
        False,
        None,
    )
    assert report.failures_to_detect == 1
    assert report.summary()["references_without_face"] == 1
    found = [row.mean_similarity for row in report.images if row.face_found]
    assert report.summary()["mean_similarity"] == pytest.approx(sum(found) / 2)
    assert "failures to detect: 1 of 3 images" in report.table()
    assert "NOT FOUND" in report.table()


def test_one_reference_has_no_yardstick():
    report = score({"old.png": unit(1, 1)}, {"a.jpg": unit(1, 0)}, "a matcher")
    assert report.summary()["leave_one_out_similarity"] is None
    assert report.summary()["mean_similarity"] == pytest.approx(0.5**0.5, abs=1e-6)
    assert report.references[0].face_found


def test_no_faces_at_all_among_the_references_leaves_every_picture_without_a_similarity():
    report = score(IMAGES, {"a.jpg": None, "b.jpg": None}, "a matcher")
    assert [row.mean_similarity for row in report.images] == [None] * 3
    assert [row.face_found for row in report.images] == [True, False, True]
    assert "No face was found in any of the 2 reference photos" in report.table()


def test_only_failures_have_no_mean():
    assert score({"x.png": None}, REFERENCES, "a matcher").summary()["mean_similarity"] is None


@pytest.mark.parametrize(
    ("name", "age"),
    [("elderly.png", "elderly"), ("45-year-old.png", 45), ("sub/child_2.png", "child"), ("x.png", None)],
)
def test_age_is_read_off_the_file_name(name, age):
    assert age_of(name) == age

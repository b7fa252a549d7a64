import re
from dataclasses import replace

import pytest
import torch

from tests.parts import ToyEmbedder, known_place, picture, subject_set
from training.ages import AgeEstimate
from training.errors import NoFaceFound
from training.faces.age_estimators import AgeErrors
from training.faces.embedders import Facts, Thresholds
from training.faces.observation import Observer
from training.runs.evaluations import Evaluation, Judge, best, evaluation_sheet, gained, sentences

RIGHT = [5.0, 15.0, 25.0, 50.0, 70.0, 90.0]  # years, one within each class


class FixedYears:
    """An age estimator that returns the given ages, one per image."""

    name, errors = "fixed", None

    def __init__(self, years):
        self.years = iter(years)

    def __call__(self, image, face):
        return AgeEstimate(next(self.years), "old")


def evaluation(step=1, similarity=0.5, years=RIGHT):
    return Evaluation(step, [similarity] * 6, list(years))


def test_identity_is_the_mean_similarity_with_negative_values_and_missing_faces_as_zero():
    assert evaluation(similarity=0.5).identity == pytest.approx(0.5)
    assert Evaluation(1, [0.6, 0.6, 0.6, -0.9, None, 0.6], RIGHT).identity == pytest.approx(4 * 0.6 / 6)


def test_age_falls_by_a_tenth_per_year_outside_the_class():
    assert evaluation().age == 1
    assert evaluation(years=[18.0, *RIGHT[1:]]).age == pytest.approx((5 + 0.5) / 6)  # a child is under 13
    assert evaluation(years=[90.0, *RIGHT[1:]]).age == pytest.approx(5 / 6)
    assert evaluation(years=[None, *RIGHT[1:]]).age == pytest.approx(5 / 6)
    assert evaluation(years=[None] * 6).age == 1


def test_best_is_the_earliest_evaluation_with_the_highest_product():
    old_face = evaluation(2, 0.9, [90.0] * 6)
    evaluations = [evaluation(1, 0.5), old_face, evaluation(3, 0.6), evaluation(4, 0.6)]
    assert max(evaluations, key=lambda evaluation: evaluation.identity) is old_face and best(evaluations).step == 3
    assert best([]) is None


def test_patience_ends_when_neither_identity_nor_age_improves():
    rising = [evaluation(1, 0.4), evaluation(2, 0.5), evaluation(3, 0.45), evaluation(4, 0.5)]
    assert gained(rising[:2], 2) and gained(rising[:3], 2) and not gained(rising, 2)
    younger = evaluation(5, 0.3, RIGHT)
    wrong = [evaluation(number, 0.5, [90.0] * 6) for number in range(1, 5)]
    assert not gained(wrong, 2) and gained([*wrong, younger], 2)


def test_a_judge_compares_with_every_photo():
    photos = subject_set()
    judge = Judge.of(photos, Observer(known_place, ToyEmbedder(), FixedYears([20.0] * 3 + RIGHT)))
    images = [photo.image() for photo in photos.photos] * 2
    result = judge.evaluate(7, images)
    vectors = torch.stack([photo.vector for photo in judge.references])
    gram = vectors @ vectors.T
    assert result.similarities == pytest.approx([*gram.mean(0).tolist()] * 2, abs=1e-5)
    assert (result.step, result.years) == (7, RIGHT)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3))


def test_a_judge_compares_each_age_with_the_photos_nearest_to_it():
    subject = subject_set(4)
    ages = [8, "child", 71, None]
    with_ages = replace(subject, photos=[replace(p, age=age) for p, age in zip(subject.photos, ages, strict=True)])
    images = [picture(20 + number) for number in range(6)]
    by_age, ageless = (Judge.of(photos, Observer(known_place, ToyEmbedder())) for photos in (with_ages, subject))
    references = torch.stack([photo.vector for photo in by_age.references])
    vectors = torch.stack([by_age.observer.observe("", image).vector for image in images])
    cosines = vectors @ references.T
    nearest = [[0, 1], [0, 1], [0, 1, 2], [2], [2], [2]]  # young adults are two classes from child and from elderly
    expected = [cosines[row, columns].mean().item() for row, columns in enumerate(nearest)]
    assert by_age.evaluate(1, images).similarities == pytest.approx(expected, abs=1e-5)
    assert ageless.evaluate(1, images).similarities == pytest.approx(cosines.mean(1).tolist(), abs=1e-5)


def test_images_without_a_face_score_zero_and_photos_without_a_face_are_refused():
    judge = Judge.of(subject_set(), Observer(lambda image: [], ToyEmbedder()))
    result = judge.evaluate(1, [picture(1)] * 6)
    assert result.similarities == [None] * 6 and result.years == [None] * 6 and result.score == 0
    assert re.search(r"\b6\b", sentences([result])[0])
    with pytest.raises(NoFaceFound, match=r"\b2\b"):
        Judge.of(subject_set(2, [None, None]), Observer(known_place, ToyEmbedder()))


def test_the_report_names_the_best_and_the_last_step_and_a_missing_age_estimator():
    report = sentences([evaluation(100, 0.6), evaluation(200, 0.5)])
    assert "100" in report[0] and "0.60" in report[0]
    assert "200" in report[1] and "0.50" in report[1]
    assert len(report) == 2 and len(sentences([evaluation()])) == 1
    assert len(sentences([evaluation(years=[None] * 6)])) == 2


def test_the_sheet_is_taller_with_an_evaluation():
    images = [picture(number) for number in range(6)]
    plain, labelled = evaluation_sheet(images), evaluation_sheet(images, evaluation())
    assert plain.width == labelled.width and plain.height < labelled.height


def test_a_judge_with_thresholds_returns_a_verdict_per_age_and_the_estimators_error():
    class Measured(ToyEmbedder):
        facts = Facts(thresholds=Thresholds(-0.5, 2.0, 1000, 0.1, "nowhere"))  # every face is "likely", none the same

    estimator = FixedYears(RIGHT * 2)  # also reads the photos
    estimator.errors = AgeErrors("nowhere", 10, 6.6, {})
    result = Judge.of(subject_set(), Observer(known_place, Measured(), estimator)).evaluate(7, [picture(1)] * 6)
    assert result.verdicts == ["likely"] * 6 and result.years_error == 6.6
    with_verdicts, without = (
        evaluation_sheet([picture(1)] * 6, result),
        evaluation_sheet([picture(1)] * 6, replace(result, verdicts=[])),
    )
    assert with_verdicts.height > without.height


def test_an_evaluation_from_an_earlier_version_can_be_read():
    assert Evaluation(**{"step": 1, "similarities": [0.5] * 6, "years": RIGHT}) == evaluation(1, 0.5)

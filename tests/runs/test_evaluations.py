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


class Calendar:
    """Says the ages that it was told, one a picture."""

    name, errors = "calendar", None

    def __init__(self, years):
        self.years = iter(years)

    def __call__(self, image, face):
        return AgeEstimate(next(self.years), "old")


def evaluation(step=1, similarity=0.5, years=RIGHT):
    return Evaluation(step, [similarity] * 6, list(years))


def test_identity_is_the_mean_similarity_and_nothing_below_zero_or_without_a_face_counts():
    assert evaluation(similarity=0.5).identity == pytest.approx(0.5)
    assert Evaluation(1, [0.6, 0.6, 0.6, -0.9, None, 0.6], RIGHT).identity == pytest.approx(4 * 0.6 / 6)


def test_age_falls_by_a_tenth_for_each_year_outside_the_class():
    assert evaluation().age == 1
    assert evaluation(years=[18.0, *RIGHT[1:]]).age == pytest.approx((5 + 0.5) / 6)  # a child is under 13
    assert evaluation(years=[90.0, *RIGHT[1:]]).age == pytest.approx(5 / 6)
    assert evaluation(years=[None, *RIGHT[1:]]).age == pytest.approx(5 / 6)
    assert evaluation(years=[None] * 6).age == 1


def test_the_best_is_the_earliest_with_the_highest_product():
    old_face = evaluation(2, 0.9, [90.0] * 6)
    evaluations = [evaluation(1, 0.5), old_face, evaluation(3, 0.6), evaluation(4, 0.6)]
    assert max(evaluations, key=lambda one: one.identity) is old_face and best(evaluations).step == 3
    assert best([]) is None


def test_patience_ends_when_neither_identity_nor_age_is_better_than_before():
    rising = [evaluation(1, 0.4), evaluation(2, 0.5), evaluation(3, 0.45), evaluation(4, 0.5)]
    assert gained(rising[:2], 2) and gained(rising[:3], 2) and not gained(rising, 2)
    younger = evaluation(5, 0.3, RIGHT)
    wrong = [evaluation(number, 0.5, [90.0] * 6) for number in range(1, 5)]
    assert not gained(wrong, 2) and gained([*wrong, younger], 2)


def test_a_judge_compares_with_every_photo():
    photos = subject_set()
    judge = Judge.of(photos, Observer(known_place, ToyEmbedder(), Calendar([20.0] * 3 + RIGHT)))
    pictures = [photo.image() for photo in photos.photos] * 2
    seen = judge.evaluate(7, pictures)
    vectors = torch.stack([photo.vector for photo in judge.references])
    gram = vectors @ vectors.T
    assert seen.similarities == pytest.approx([*gram.mean(0).tolist()] * 2, abs=1e-5)
    assert (seen.step, seen.years) == (7, RIGHT)
    assert torch.allclose(vectors.norm(dim=1), torch.ones(3))


def test_a_judge_compares_each_age_with_the_photos_nearest_to_it():
    subject = subject_set(4)
    ages = [8, "child", 71, None]
    known = replace(subject, photos=[replace(p, age=age) for p, age in zip(subject.photos, ages, strict=True)])
    pictures = [picture(20 + number) for number in range(6)]
    seen, all_of_them = (Judge.of(one, Observer(known_place, ToyEmbedder())) for one in (known, subject))
    photos = torch.stack([photo.vector for photo in seen.references])
    drawn = torch.stack([seen.observer.observe("", one).vector for one in pictures])
    cosines = drawn @ photos.T
    nearest = [[0, 1], [0, 1], [0, 1, 2], [2], [2], [2]]  # young adults lie two classes from child and from elderly
    expected = [cosines[row, columns].mean().item() for row, columns in enumerate(nearest)]
    assert seen.evaluate(1, pictures).similarities == pytest.approx(expected, abs=1e-5)
    assert all_of_them.evaluate(1, pictures).similarities == pytest.approx(cosines.mean(1).tolist(), abs=1e-5)


def test_a_picture_without_a_face_is_seen_as_one_and_photos_without_any_are_refused():
    blind = Judge.of(subject_set(), Observer(lambda image: [], ToyEmbedder()))
    seen = blind.evaluate(1, [picture(1)] * 6)
    assert seen.similarities == [None] * 6 and seen.years == [None] * 6 and seen.score == 0
    assert "6 without a face" in sentences([seen])[0]
    with pytest.raises(NoFaceFound, match="2 photos"):
        Judge.of(subject_set(2, [None, None]), Observer(known_place, ToyEmbedder()))


def test_the_report_names_the_chosen_step_and_what_was_not_judged():
    told = sentences([evaluation(100, 0.6), evaluation(200, 0.5)])
    assert "step 100" in told[0] and "0.60" in told[0]
    assert "step 200" in told[1] and "0.50" in told[1]
    assert len(told) == 2 and len(sentences([evaluation()])) == 1
    assert "age estimator" in sentences([evaluation(years=[None] * 6)])[-1]


def test_the_sheet_has_room_for_what_was_seen():
    pictures = [picture(number) for number in range(6)]
    bare, told = evaluation_sheet(pictures), evaluation_sheet(pictures, evaluation())
    assert bare.width == told.width and bare.height < told.height


def test_a_judge_with_thresholds_marks_each_age_and_says_its_own_error():
    class Known(ToyEmbedder):
        facts = Facts(thresholds=Thresholds(-0.5, 2.0, 1000, 0.1, "nowhere"))  # everything is likely, nothing the same

    estimator = Calendar(RIGHT * 2)  # of the photos too
    estimator.errors = AgeErrors("nowhere", 10, 6.6, {})
    seen = Judge.of(subject_set(), Observer(known_place, Known(), estimator)).evaluate(7, [picture(1)] * 6)
    assert seen.verdicts == ["likely"] * 6 and seen.years_error == 6.6
    told, bare = (
        evaluation_sheet([picture(1)] * 6, seen),
        evaluation_sheet([picture(1)] * 6, replace(seen, verdicts=[])),
    )
    assert told.height > bare.height


def test_a_look_of_an_earlier_version_is_read():
    assert Evaluation(**{"step": 1, "similarities": [0.5] * 6, "years": RIGHT}) == evaluation(1, 0.5)

import numpy as np
import pytest

from training.biometrics.bootstrap import interval
from training.biometrics.rates import fnmr_at_fmr


def mean(drawn):
    return np.concatenate(drawn).mean()


def test_the_interval_of_a_mean_is_the_textbooks():
    values = np.random.default_rng(1).normal(3, 2, 400)
    found = interval(mean, [[value] for value in values], seed=2)
    error = values.std() / np.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.03
    )
    assert (found.subjects, found.repetitions, found.undefined) == (400, 2000, 0)


def test_whole_subjects_are_drawn_so_more_pictures_of_them_narrow_nothing():
    centres = np.random.default_rng(3).normal(0, 1, 30)
    few, many = (interval(mean, [np.full(count, centre) for centre in centres], seed=4) for count in (1, 100))
    assert (few.low, few.high) == pytest.approx((many.low, many.high))


def test_it_covers_the_truth_as_often_as_it_says():
    random = np.random.default_rng(5)
    intervals = [interval(mean, random.normal(0, 1, (40, 1)), seed, 200) for seed in range(200)]
    covered = np.mean([found.low <= 0 <= found.high for found in intervals])
    assert 0.88 <= covered <= 0.99


def test_the_seed_decides():
    subjects = np.random.default_rng(6).random((9, 3))
    assert interval(mean, subjects, 1) == interval(mean, subjects, 1) != interval(mean, subjects, 2)


def test_one_subject_has_no_interval_and_none_has_no_value():
    lone = interval(mean, [[1.0, 2.0]])
    assert lone.value == 1.5 and np.isnan(lone.low) and np.isnan(lone.high) and lone.subjects == 1
    assert np.isnan(interval(mean, []).value)


def test_repetitions_without_a_number_are_counted():
    subjects = [np.array([0.5]), np.array([])]
    found = interval(lambda drawn: np.concatenate(drawn).mean() if np.concatenate(drawn).size else np.nan, subjects)
    assert 0.2 < found.undefined / found.repetitions < 0.3  # one in four draws the empty one twice
    assert found.low == found.high == 0.5


def test_rates_are_resampled_as_the_study_does():
    random = np.random.default_rng(7)
    subjects = [(random.normal(0.6, 0.1, 6), random.normal(0.1, 0.1, 60)) for _ in range(20)]

    def missed(drawn):
        mated, non_mated = (np.concatenate(kind) for kind in zip(*drawn, strict=True))
        return fnmr_at_fmr(mated, non_mated, 0.01).fnmr

    found = interval(missed, subjects, repetitions=200)
    assert 0 <= found.low <= found.value <= found.high < 0.2

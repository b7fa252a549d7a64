import numpy as np
import pytest

from training.biometrics.bootstrap import interval
from training.biometrics.rates import fnmr_at_fmr


def mean(sample):
    return np.concatenate(sample).mean()


def test_the_interval_of_a_mean_matches_the_normal_approximation():
    values = np.random.default_rng(1).normal(3, 2, 400)
    result = interval(mean, [[value] for value in values], seed=2)
    error = values.std() / np.sqrt(len(values))
    assert result.value == pytest.approx(values.mean())
    assert (result.low, result.high) == pytest.approx(
        (values.mean() - 1.96 * error, values.mean() + 1.96 * error), abs=0.03
    )
    assert (result.subjects, result.repetitions, result.undefined) == (400, 2000, 0)


def test_more_images_of_the_same_subjects_do_not_narrow_the_interval():
    centres = np.random.default_rng(3).normal(0, 1, 30)
    few, many = (interval(mean, [np.full(count, centre) for centre in centres], seed=4) for count in (1, 100))
    assert (few.low, few.high) == pytest.approx((many.low, many.high))


def test_the_interval_covers_the_true_value_as_often_as_promised():
    random = np.random.default_rng(5)
    intervals = [interval(mean, random.normal(0, 1, (40, 1)), seed, 200) for seed in range(200)]
    covered = np.mean([item.low <= 0 <= item.high for item in intervals])
    assert 0.88 <= covered <= 0.99


def test_the_seed_determines_the_interval():
    subjects = np.random.default_rng(6).random((9, 3))
    assert interval(mean, subjects, 1) == interval(mean, subjects, 1) != interval(mean, subjects, 2)


def test_one_subject_has_no_interval_and_no_subjects_have_no_value():
    lone = interval(mean, [[1.0, 2.0]])
    assert lone.value == 1.5 and np.isnan(lone.low) and np.isnan(lone.high) and lone.subjects == 1
    assert np.isnan(interval(mean, []).value)


def test_repetitions_without_a_value_are_counted():
    subjects = [np.array([0.5]), np.array([])]
    result = interval(lambda sample: mean(sample) if np.concatenate(sample).size else np.nan, subjects)
    assert 0.2 < result.undefined / result.repetitions < 0.3  # one sample in four has only the empty subject
    assert result.low == result.high == 0.5


def test_rates_are_resampled_over_subjects():
    random = np.random.default_rng(7)
    subjects = [(random.normal(0.6, 0.1, 6), random.normal(0.1, 0.1, 60)) for _ in range(20)]

    def fnmr(sample):
        mated, non_mated = (np.concatenate(values) for values in zip(*sample, strict=True))
        return fnmr_at_fmr(mated, non_mated, 0.01).fnmr

    result = interval(fnmr, subjects, repetitions=200)
    assert 0 <= result.low <= result.value <= result.high < 0.2

"""Rates against scikit-learn and pyeer, and against hand-counted values."""

import numpy as np
import pytest
from pyeer.eer_stats import calculate_roc, calculate_roc_auc, get_decidability_value, get_eer_values
from sklearn.metrics import det_curve, roc_auc_score, roc_curve

from training.biometrics.rates import auc, d_prime, det, equal_error_rate, fmr, fnmr, fnmr_at_fmr, supports


def scores(case, seed, mated=150, non_mated=700):
    random = np.random.default_rng(seed)
    values = random.normal(0.5, 0.2, mated), random.normal(0.1, 0.2, non_mated)
    return tuple(np.round(part, 1) for part in values) if case == "tied" else values


BOTH = pytest.mark.parametrize("case", ["random", "tied"])
SEEDS = pytest.mark.parametrize("seed", range(5))


def labelled(mated, non_mated):
    return np.r_[np.ones(len(mated)), np.zeros(len(non_mated))], np.r_[mated, non_mated]


@BOTH
@SEEDS
def test_det_has_every_point_of_scikit_learn(case, seed):
    mated, non_mated = scores(case, seed)
    ours = det(mated, non_mated)
    at = {threshold: (a, b) for threshold, a, b in zip(ours.thresholds, ours.fmr, ours.fnmr, strict=True)}
    for false_positives, false_negatives, threshold in zip(*det_curve(*labelled(mated, non_mated)), strict=True):
        assert at[threshold] == pytest.approx((false_positives, false_negatives), abs=1e-12)
    positives, true_positives, thresholds = roc_curve(*labelled(mated, non_mated), drop_intermediate=False)
    assert ours.thresholds[::-1] == pytest.approx(thresholds)
    assert ours.fmr[::-1] == pytest.approx(positives)
    assert 1 - ours.fnmr[::-1] == pytest.approx(true_positives)


@BOTH
@SEEDS
def test_auc_matches_scikit_learn(case, seed):
    mated, non_mated = scores(case, seed)
    assert auc(mated, non_mated) == pytest.approx(roc_auc_score(*labelled(mated, non_mated)), abs=1e-12)


@BOTH
@SEEDS
def test_eer_and_decidability_match_pyeer(case, seed):
    mated, non_mated = scores(case, seed)
    _, false_matches, false_non_matches = calculate_roc(mated, non_mated)
    _, *limits, value = get_eer_values(false_matches, false_non_matches)
    ours = equal_error_rate(mated, non_mated)
    assert (ours.low, ours.high, ours.value) == pytest.approx((*sorted(limits), value), abs=1e-12)
    assert d_prime(mated, non_mated) == pytest.approx(
        get_decidability_value(mated.mean(), mated.std(), non_mated.mean(), non_mated.std())
    )
    assert auc(mated, non_mated) == pytest.approx(calculate_roc_auc(false_matches, false_non_matches), abs=2e-3)


@BOTH
@SEEDS
@pytest.mark.parametrize("target", [0.1, 0.05, 0.01])
def test_the_operating_point_has_the_lowest_fnmr_within_the_target(case, seed, target):
    mated, non_mated = scores(case, seed)
    point = fnmr_at_fmr(mated, non_mated, target)
    candidates = [
        (np.mean(mated < threshold), np.mean(non_mated >= threshold))
        for threshold in np.linspace(-1.5, 2.5, 40_001)
        if np.sum(non_mated >= threshold) <= target * len(non_mated) + 1e-9
    ]
    assert point.fmr <= target and point.supported
    assert point.fnmr == pytest.approx(min(missed for missed, _ in candidates), abs=1e-12)
    assert (np.mean(mated < point.threshold), np.mean(non_mated >= point.threshold)) == (point.fnmr, point.fmr)


def test_fmr_is_at_most_the_target_even_if_a_higher_one_is_nearer():
    non_mated = np.r_[np.arange(1000) / 1000, 0.99]
    point = fnmr_at_fmr([0.9885, 0.9895, 0.995], non_mated, 0.0105)  # 11 of 1001, at 0.99, would be nearer
    assert 0.99 < point.threshold < 0.9901 and (point.fmr, point.fnmr) == (9 / 1001, 2 / 3)
    ties = fnmr_at_fmr([0.3, 0.7], [0.5] * 150 + [0.1] * 150, 0.4)
    assert 0.5 < ties.threshold < 0.5001 and (ties.fmr, ties.fnmr) == (0, 0.5)


def test_the_threshold_depends_only_on_non_mated_comparisons():
    mated, non_mated = scores("random", 9)
    thresholds = {fnmr_at_fmr(part, non_mated, 0.01).threshold for part in (mated, mated[:3], [])}
    assert len(thresholds) == 1


def test_a_target_can_be_met_exactly():
    """7 of 100. Computed as 1 - 0.93, the FMR would exceed 0.07 by rounding."""
    point = fnmr_at_fmr([0.935, 0.5], np.arange(100) / 100, 0.07)
    assert (point.fmr, point.fnmr) == (0.07, 0.5)


def test_a_similarity_equal_to_the_threshold_is_accepted():
    assert fmr([0.2, 0.5, 0.5], 0.5) == pytest.approx(2 / 3)
    assert fnmr([0.2, 0.5, 0.5], 0.5) == pytest.approx(1 / 3)
    assert fnmr([0.2, 0.5], [0.1, 0.3, np.inf]).tolist() == [0, 0.5, 1]


@pytest.mark.parametrize(
    ("count", "target", "supported"),
    [(300, 0.01, True), (299, 0.01, False), (3000, 0.001, True), (29, 0.1, False), (30, 0.1, True), (0, 0.5, False)],
)
def test_the_rule_of_three(count, target, supported):
    assert supports(count, target) is supported
    assert fnmr_at_fmr([0.9], np.zeros(count), target).supported is supported


def test_perfect_and_reversed_separation():
    assert equal_error_rate([0.8, 0.9], [0.1, 0.2]).value == 0 and auc([0.8, 0.9], [0.1, 0.2]) == 1
    assert equal_error_rate([0.1, 0.2], [0.8, 0.9]).value == 1 and auc([0.1], [0.9]) == 0
    assert d_prime([0.1, 0.2], [0.8, 0.9]) < 0


def test_equal_similarities_give_chance_level():
    assert auc([0.5] * 3, [0.5] * 4) == 0.5
    assert equal_error_rate([0.5] * 3, [0.5] * 4).value == 0.5
    assert np.isnan(d_prime([0.5] * 3, [0.5] * 4))


def test_one_comparison_of_each_kind():
    assert auc([0.6], [0.4]) == 1 and equal_error_rate([0.6], [0.4]).value == 0
    point = fnmr_at_fmr([0.6], [0.4], 0.01)
    assert (point.fmr, point.fnmr, point.supported) == (0, 0, False)


@pytest.mark.parametrize(("mated", "non_mated"), [([], [0.1]), ([0.1], []), ([], [])])
def test_rates_without_mated_or_non_mated_comparisons_are_nan(mated, non_mated):
    assert np.isnan(auc(mated, non_mated)) and np.isnan(d_prime(mated, non_mated))
    assert np.isnan(equal_error_rate(mated, non_mated).value)
    assert np.isnan(fnmr_at_fmr(mated, non_mated, 0.1).fnmr)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
@pytest.mark.parametrize("function", [auc, d_prime, det, equal_error_rate, lambda a, b: fnmr_at_fmr(a, b, 0.1)])
def test_similarities_that_are_not_finite_are_refused(function, broken):
    with pytest.raises(ValueError, match="finite"):
        function([0.5, broken], [0.1, 0.2])
    with pytest.raises(ValueError, match="finite"):
        function([0.5, 0.6], [broken, 0.2])

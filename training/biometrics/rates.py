"""Error rates of a matcher in the terms of ISO/IEC 19795-1, from the similarities of mated and non-mated comparisons.

A comparison is accepted where its similarity is at least the threshold. FMR is the share of non-mated comparisons that
are accepted, FNMR the share of mated ones that are not. Similarities are arrays [N] of any finite numbers; a rate over
no comparisons is nan. A failure to detect has no similarity: count it elsewhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Det:
    """Detection error trade-off: both rates [T] at rising thresholds [T], of which the last, inf, accepts nobody."""

    thresholds: np.ndarray
    fmr: np.ndarray
    fnmr: np.ndarray


@dataclass(frozen=True)
class OperatingPoint:
    """The lowest threshold at which FMR is at most ``target``, and both rates there, in [0, 1].

    Where it is not ``supported`` the rates are facts about these comparisons and say nothing about others: show "not
    supported" instead of them.
    """

    target: float
    threshold: float
    fmr: float
    fnmr: float
    supported: bool


@dataclass(frozen=True)
class EqualErrorRate:
    """Where FMR and FNMR meet. They are steps that may jump past each other: then they meet in [low, high]."""

    low: float
    high: float
    threshold: float

    @property
    def value(self) -> float:
        """The middle of the interval."""
        return (self.low + self.high) / 2


def fmr(non_mated: ArrayLike, threshold: ArrayLike) -> np.ndarray:
    """Share of ``non_mated`` at or above ``threshold``, of its shape."""
    ordered = _sorted(non_mated)
    return _share(len(ordered) - np.searchsorted(ordered, threshold, side="left"), len(ordered))


def fnmr(mated: ArrayLike, threshold: ArrayLike) -> np.ndarray:
    """Share of ``mated`` below ``threshold``, of its shape."""
    ordered = _sorted(mated)
    return _share(np.searchsorted(ordered, threshold, side="left"), len(ordered))


def det(mated: ArrayLike, non_mated: ArrayLike) -> Det:
    """Both rates at every similarity that occurs, taken as threshold."""
    thresholds = np.append(np.unique(np.concatenate([_sorted(mated), _sorted(non_mated)])), np.inf)
    return Det(thresholds, fmr(non_mated, thresholds), fnmr(mated, thresholds))


def least_fmr(non_mated_comparisons: int) -> float:
    """The smallest FMR that so many comparisons can speak of, by the rule of three; inf without any.

    None accepted out of n puts the 95 % upper limit of the FMR at 3/n (ISO/IEC 19795-1, annex B). That holds of
    independent comparisons; those that share a person are not, so this is the least to ask for.
    """
    return 3 / non_mated_comparisons if non_mated_comparisons else np.inf


def supports(non_mated_comparisons: int, target: float) -> bool:
    """Whether so many comparisons can say anything about an FMR of ``target``."""
    return least_fmr(non_mated_comparisons) <= target


def fnmr_at_fmr(mated: ArrayLike, non_mated: ArrayLike, target: float) -> OperatingPoint:
    """FNMR where FMR is at most ``target``, in (0, 1); never where it is nearest to it."""
    count = np.size(non_mated)
    if not count:
        return OperatingPoint(target, np.nan, np.nan, np.nan, False)
    # Rates change just above a similarity; so the threshold depends on the non-mated alone, as it must in use.
    thresholds = np.nextafter(np.unique(_sorted(non_mated)), np.inf)
    threshold = thresholds[(fmr(non_mated, thresholds) <= target).argmax()]
    rates = float(fmr(non_mated, threshold)), float(fnmr(mated, threshold))
    return OperatingPoint(target, float(threshold), *rates, supports(count, target))


def equal_error_rate(mated: ArrayLike, non_mated: ArrayLike) -> EqualErrorRate:
    """EER with its interval as in FVC2000 (Maio et al., PAMI 24(3), 2002)."""
    if not np.size(mated) or not np.size(non_mated):
        return EqualErrorRate(np.nan, np.nan, np.nan)
    curve = det(mated, non_mated)
    after = int((curve.fmr <= curve.fnmr).argmax())
    before = after if curve.fmr[after] == curve.fnmr[after] else max(0, after - 1)
    at = min(before, after, key=lambda index: curve.fmr[index] + curve.fnmr[index])
    low, high = sorted((float(curve.fmr[at]), float(curve.fnmr[at])))
    return EqualErrorRate(low, high, float(curve.thresholds[at]))


def auc(mated: ArrayLike, non_mated: ArrayLike) -> float:
    """Area under the ROC curve, in [0, 1]: how often a mated similarity is above a non-mated one; a tie is a half."""
    mated, non_mated = _sorted(mated), _sorted(non_mated)
    below = np.searchsorted(non_mated, mated, side="left").sum()
    not_above = np.searchsorted(non_mated, mated, side="right").sum()
    return float(_share((below + not_above) / 2, len(mated) * len(non_mated)))


def d_prime(mated: ArrayLike, non_mated: ArrayLike) -> float:
    """Difference of the means over the root mean of both variances (Daugman 2000); negative where non-mated lead.

    Undefined, hence nan, where neither kind varies.
    """
    mated, non_mated = _sorted(mated), _sorted(non_mated)
    if not len(mated) or not len(non_mated):
        return np.nan
    spread = np.sqrt((mated.var() + non_mated.var()) / 2)
    return float((mated.mean() - non_mated.mean()) / spread) if spread else np.nan


def _sorted(similarities: ArrayLike) -> np.ndarray:
    values = np.sort(np.asarray(similarities, dtype=np.float64).ravel())
    if not np.isfinite(values).all():
        raise ValueError("Similarities must be finite numbers; count a face that was not found apart.")
    return values


def _share(count: ArrayLike, total: int) -> np.ndarray:
    return np.asarray(count) / total if total else np.full(np.shape(count), np.nan)

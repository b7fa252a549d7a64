"""Error rates of a matcher as in ISO/IEC 19795-1, from the similarities of mated and non-mated comparisons.

A comparison is accepted if its similarity is at least the threshold. FMR is the share of non-mated comparisons that are
accepted, FNMR the share of mated comparisons that are rejected. Similarities are arrays [N] of finite numbers; a rate
over no comparisons is nan. A failure to detect has no similarity and must be counted separately.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Det:
    """Detection error trade-off: both rates [T] at rising thresholds [T]. The last threshold, inf, accepts nothing."""

    thresholds: np.ndarray
    fmr: np.ndarray
    fnmr: np.ndarray


@dataclass(frozen=True)
class OperatingPoint:
    """The lowest threshold at which FMR is at most ``target``, and both rates at it, in [0, 1].

    If not ``supported``, there are too few comparisons to generalize from: show "not supported" instead of the rates.
    """

    target: float
    threshold: float
    fmr: float
    fnmr: float
    supported: bool


@dataclass(frozen=True)
class EqualErrorRate:
    """The rate at which FMR equals FNMR. Both are step functions and may cross between two values, [low, high]."""

    low: float
    high: float
    threshold: float

    @property
    def value(self) -> float:
        """The middle of the interval."""
        return (self.low + self.high) / 2


def fmr(non_mated: ArrayLike, threshold: ArrayLike) -> np.ndarray:
    """Returns the share of ``non_mated`` at or above ``threshold``, in the shape of ``threshold``."""
    ordered = _sorted(non_mated)
    return _share(len(ordered) - np.searchsorted(ordered, threshold, side="left"), len(ordered))


def fnmr(mated: ArrayLike, threshold: ArrayLike) -> np.ndarray:
    """Returns the share of ``mated`` below ``threshold``, in the shape of ``threshold``."""
    ordered = _sorted(mated)
    return _share(np.searchsorted(ordered, threshold, side="left"), len(ordered))


def det(mated: ArrayLike, non_mated: ArrayLike) -> Det:
    """Returns both rates, with every similarity that occurs as a threshold."""
    thresholds = np.append(np.unique(np.concatenate([_sorted(mated), _sorted(non_mated)])), np.inf)
    return Det(thresholds, fmr(non_mated, thresholds), fnmr(mated, thresholds))


def least_fmr(non_mated_comparisons: int) -> float:
    """Returns the lowest FMR that this many comparisons support, by the rule of three; inf for 0 comparisons.

    If none of n comparisons is accepted, the 95 % upper limit of the FMR is 3/n (ISO/IEC 19795-1, annex B). This
    assumes independent comparisons. Comparisons that share a person are not independent, so 3/n is a lower bound.
    """
    return 3 / non_mated_comparisons if non_mated_comparisons else np.inf


def supports(non_mated_comparisons: int, target: float) -> bool:
    """Returns True if this many comparisons support an FMR of ``target``."""
    return least_fmr(non_mated_comparisons) <= target


def fnmr_at_fmr(mated: ArrayLike, non_mated: ArrayLike, target: float) -> OperatingPoint:
    """Returns the FNMR where FMR is at most ``target``, in (0, 1); not where FMR is nearest to ``target``."""
    count = np.size(non_mated)
    if not count:
        return OperatingPoint(target, np.nan, np.nan, np.nan, False)
    # Rates change just above a similarity. The threshold depends only on non-mated comparisons, as it does in use.
    thresholds = np.nextafter(np.unique(_sorted(non_mated)), np.inf)
    threshold = thresholds[(fmr(non_mated, thresholds) <= target).argmax()]
    rates = float(fmr(non_mated, threshold)), float(fnmr(mated, threshold))
    return OperatingPoint(target, float(threshold), *rates, supports(count, target))


def equal_error_rate(mated: ArrayLike, non_mated: ArrayLike) -> EqualErrorRate:
    """Returns the EER with its interval as in FVC2000 (Maio et al., PAMI 24(3), 2002)."""
    if not np.size(mated) or not np.size(non_mated):
        return EqualErrorRate(np.nan, np.nan, np.nan)
    curve = det(mated, non_mated)
    after = int((curve.fmr <= curve.fnmr).argmax())
    before = after if curve.fmr[after] == curve.fnmr[after] else max(0, after - 1)
    at = min(before, after, key=lambda index: curve.fmr[index] + curve.fnmr[index])
    low, high = sorted((float(curve.fmr[at]), float(curve.fnmr[at])))
    return EqualErrorRate(low, high, float(curve.thresholds[at]))


def auc(mated: ArrayLike, non_mated: ArrayLike) -> float:
    """Returns the area under the ROC curve, in [0, 1].

    This is the share of pairs in which the mated similarity is above the non-mated one; a tie counts as a half.
    """
    mated, non_mated = _sorted(mated), _sorted(non_mated)
    below = np.searchsorted(non_mated, mated, side="left").sum()
    not_above = np.searchsorted(non_mated, mated, side="right").sum()
    return float(_share((below + not_above) / 2, len(mated) * len(non_mated)))


def d_prime(mated: ArrayLike, non_mated: ArrayLike) -> float:
    """Returns the difference of the means over the root of the mean variance (Daugman 2000).

    It is negative if non-mated similarities are higher on average, and nan if neither kind varies.
    """
    mated, non_mated = _sorted(mated), _sorted(non_mated)
    if not len(mated) or not len(non_mated):
        return np.nan
    spread = np.sqrt((mated.var() + non_mated.var()) / 2)
    return float((mated.mean() - non_mated.mean()) / spread) if spread else np.nan


def _sorted(similarities: ArrayLike) -> np.ndarray:
    values = np.sort(np.asarray(similarities, dtype=np.float64).ravel())
    if not np.isfinite(values).all():
        raise ValueError("Similarities must be finite. Leave out failures to detect and count them separately.")
    return values


def _share(count: ArrayLike, total: int) -> np.ndarray:
    return np.asarray(count) / total if total else np.full(np.shape(count), np.nan)

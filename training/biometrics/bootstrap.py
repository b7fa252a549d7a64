"""Confidence intervals by resampling whole subjects, since comparisons that share a subject are not independent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Subject = TypeVar("Subject")
CONFIDENCE = 0.95
REPETITIONS = 2000


@dataclass(frozen=True)
class Interval:
    """A number and the limits between which it stays in 95 % of the repetitions; nan where it cannot be had."""

    value: float
    low: float
    high: float
    subjects: int
    repetitions: int
    undefined: int  # repetitions in which the number did not exist; the limits are those of the others


def interval(
    statistic: Callable[[list[Subject]], float],
    per_subject: Sequence[Subject],
    seed: int = 0,
    repetitions: int = REPETITIONS,
) -> Interval:
    """The percentile bootstrap (Efron & Tibshirani 1993) of ``statistic`` over as many subjects, drawn with return.

    ``per_subject`` holds for each subject whatever ``statistic`` reads of it, such as a pair of arrays (mated,
    non-mated); ``statistic`` gets the list of those drawn, and returns nan where its number does not exist.
    One subject has no interval. Few subjects have one that is too narrow.
    """
    subjects = list(per_subject)
    if not subjects:
        return Interval(np.nan, np.nan, np.nan, 0, 0, 0)
    value = float(statistic(subjects))
    if len(subjects) == 1:
        return Interval(value, np.nan, np.nan, 1, 0, 0)
    draws = np.random.default_rng(seed).integers(len(subjects), size=(repetitions, len(subjects)))
    found = np.array([statistic([subjects[index] for index in draw]) for draw in draws], dtype=np.float64)
    defined = found[~np.isnan(found)]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(defined, [tail, 100 - tail]) if len(defined) else (np.nan, np.nan)
    return Interval(value, float(low), float(high), len(subjects), repetitions, len(found) - len(defined))

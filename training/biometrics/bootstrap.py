"""Confidence intervals by resampling whole subjects, because comparisons that share a subject are not independent."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

Subject = TypeVar("Subject")
CONFIDENCE = 0.95
REPETITIONS = 2000


@dataclass(frozen=True)
class Interval:
    """A value and its 95 % confidence limits; nan if they cannot be computed."""

    value: float
    low: float
    high: float
    subjects: int
    repetitions: int
    undefined: int  # repetitions without a value; the limits are computed from the others


def interval(
    statistic: Callable[[list[Subject]], float],
    per_subject: Sequence[Subject],
    seed: int = 0,
    repetitions: int = REPETITIONS,
) -> Interval:
    """Returns the percentile bootstrap interval (Efron & Tibshirani 1993) of ``statistic``, resampling subjects.

    ``per_subject`` holds the data of each subject, such as a pair of arrays (mated, non-mated). ``statistic`` maps a
    resampled list of these to a number, or to nan if it is undefined. A single subject has no interval; with few
    subjects the interval is too narrow.
    """
    subjects = list(per_subject)
    if not subjects:
        return Interval(np.nan, np.nan, np.nan, 0, 0, 0)
    value = float(statistic(subjects))
    if len(subjects) == 1:
        return Interval(value, np.nan, np.nan, 1, 0, 0)
    samples = np.random.default_rng(seed).integers(len(subjects), size=(repetitions, len(subjects)))
    values = np.array([statistic([subjects[index] for index in sample]) for sample in samples], dtype=np.float64)
    defined = values[~np.isnan(values)]
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(defined, [tail, 100 - tail]) if len(defined) else (np.nan, np.nan)
    return Interval(value, float(low), float(high), len(subjects), repetitions, len(values) - len(defined))

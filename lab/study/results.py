"""Turns rows of trials into rates and ages with bootstrap intervals over subjects, and into a table."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from training.ages import class_of, years_off
from training.biometrics.bootstrap import Interval, interval
from training.biometrics.rates import fnmr_at_fmr, supports

from .plan import DREAMBOOTH, Variant

REPETITIONS = 1000
FMR_TARGETS = (0.01, 0.001)


@dataclass(frozen=True)
class SubjectRows:
    """All measurements of one variant on one subject, over all seeds."""

    mated: np.ndarray  # similarities, any number
    non_mated: np.ndarray
    asked: list[str]  # age classes
    years: np.ndarray  # estimated


@dataclass(frozen=True)
class Result:
    """A line of the table. FNMR is None if there are too few comparisons for the FMR."""

    name: str
    label: str
    subjects: int
    seeds: int
    mated_comparisons: int
    non_mated_comparisons: int
    fnmr: dict[str, Interval | None]  # by FMR
    similarity: Interval
    age_accuracy: Interval
    age_error: Interval  # years outside the class
    fnmr_change: Interval | None  # relative to the baseline at FMR 1 %; -0.3 is 30 % less


def by_subject(rows: Iterable[dict]) -> dict[str, dict[int, SubjectRows]]:
    """Groups rows by variant and subject."""
    gathered: dict[str, dict[int, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        gathered[row["variant"]][row["subject"]].append(row)
    return {
        variant: {subject: _joined(same_subject) for subject, same_subject in sorted(subjects.items())}
        for variant, subjects in gathered.items()
    }


def _joined(rows: list[dict]) -> SubjectRows:
    return SubjectRows(
        np.concatenate([np.ravel(row["mated"]) for row in rows]),
        np.concatenate([np.ravel(row["non_mated"]) for row in rows]),
        [age for row in rows for age in row["asked"]],
        np.concatenate([row["years"] for row in rows]),
    )


class Compared(Protocol):
    """The similarities of one subject."""

    @property
    def mated(self) -> np.ndarray:
        """Mated similarities, any number."""

    @property
    def non_mated(self) -> np.ndarray:
        """Non-mated similarities, any number."""


def fnmr(subjects: Sequence[Compared], target: float) -> float:
    """Returns FNMR at the threshold where FMR over all subjects is at most ``target``."""
    mated = np.concatenate([subject.mated for subject in subjects])
    return fnmr_at_fmr(mated, np.concatenate([subject.non_mated for subject in subjects]), target).fnmr


def similarity(subjects: Sequence[Compared]) -> float:
    """Returns the mean over subjects of the mean mated similarity."""
    return float(np.mean([subject.mated.mean() for subject in subjects]))


def age_accuracy(subjects: list[SubjectRows]) -> float:
    """Returns the share of images whose estimated age is in the class in the prompt."""
    hits = [
        class_of(years) == age for subject in subjects for years, age in zip(subject.years, subject.asked, strict=True)
    ]
    return float(np.mean(hits))


def age_error(subjects: list[SubjectRows]) -> float:
    """Returns the mean distance in years of the estimated age from the class in the prompt."""
    pictures = [pair for subject in subjects for pair in zip(subject.years, subject.asked, strict=True)]
    return float(np.mean([years_off(years, age) for years, age in pictures]))


def fnmr_change(pairs: Sequence[tuple[Compared, Compared]]) -> float:
    """Returns FNMR at FMR 1 % of the pairs' first members relative to the second's, minus 1, or nan if that is 0."""
    ours, theirs = (fnmr(list(side), FMR_TARGETS[0]) for side in zip(*pairs, strict=True))
    return ours / theirs - 1 if theirs else np.nan


def results(rows: Iterable[dict], variants: Iterable[Variant], baseline: Variant = DREAMBOOTH) -> list[Result]:
    """Returns one line per variant that has rows, with changes relative to ``baseline``."""
    rows = list(rows)
    measured = by_subject(rows)
    baseline_subjects = measured.get(baseline.name, {})
    lines = []
    for variant in variants:
        subjects = measured.get(variant.name)
        if not subjects:
            continue
        both = [(own, baseline_subjects[subject]) for subject, own in subjects.items() if subject in baseline_subjects]
        lines.append(_result(variant, list(subjects.values()), [] if variant == baseline else both, rows))
    return lines


def _result(variant: Variant, subjects: list[SubjectRows], both: list[tuple], rows: list[dict]) -> Result:
    def bootstrapped(statistic: Callable, units: list = subjects) -> Interval:
        return interval(statistic, units, repetitions=REPETITIONS)

    count = sum(len(subject.non_mated) for subject in subjects)
    rates = {
        f"{target:g}": bootstrapped(lambda sample, target=target: fnmr(sample, target))
        if supports(count, target)
        else None
        for target in FMR_TARGETS
    }
    return Result(
        variant.name,
        variant.label,
        len(subjects),
        len({row["seed"] for row in rows if row["variant"] == variant.name}),
        sum(len(subject.mated) for subject in subjects),
        count,
        rates,
        bootstrapped(similarity),
        bootstrapped(age_accuracy),
        bootstrapped(age_error),
        bootstrapped(fnmr_change, both) if both else None,
    )


def table(measured: list[Result], baseline: str = "DreamBooth") -> str:
    """Returns a Markdown table with one row per variant and 95 % intervals over subjects."""
    head = ["", "FNMR at FMR 1 %", f"against {baseline}", "FNMR at FMR 0.1 %", "similarity", "age class right",
            "years off", "subjects x seeds"]  # fmt: skip
    lines = [head, ["---"] * len(head)]
    for row in measured:
        lines.append(
            [
                row.label,
                percent(row.fnmr["0.01"]),
                "" if row.fnmr_change is None else percent(row.fnmr_change, "+.0f"),
                percent(row.fnmr["0.001"]),
                formatted(row.similarity, ".3f"),
                percent(row.age_accuracy),
                formatted(row.age_error, ".1f"),
                f"{row.subjects} x {row.seeds}",
            ]
        )
    return markdown(lines)


def markdown(lines: list[list[str]]) -> str:
    """Returns a Markdown table of ``lines``: the header, the dashes below it, then the rows."""
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def percent(value: Interval | None, form: str = ".1f") -> str:
    """Formats a share in per cent with its interval; None becomes "not supported"."""
    return "not supported" if value is None else f"{formatted(value, form, 100)} %"


def formatted(value: Interval, form: str, scale: float = 1) -> str:
    """Formats a number with its interval; a single subject has none."""
    if np.isnan(value.low):
        return f"{value.value * scale:{form}}"
    limits = f"{value.low * scale:{form}} to {value.high * scale:{form}}"
    return f"{value.value * scale:{form}} ({limits})"

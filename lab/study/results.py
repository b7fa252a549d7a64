"""Rows of trials to rates and ages, each with its bootstrap interval over subjects, and the table of them."""

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
    """Everything that was measured on one subject under one variant, over all seeds."""

    mated: np.ndarray  # similarities, any number
    non_mated: np.ndarray
    asked: list[str]  # age classes
    years: np.ndarray  # as estimated


@dataclass(frozen=True)
class Result:
    """A line of the table. FNMR is None where the number of comparisons cannot support the FMR."""

    name: str
    label: str
    subjects: int
    seeds: int
    mated_comparisons: int
    non_mated_comparisons: int
    fnmr: dict[str, Interval | None]  # by FMR
    similarity: Interval
    age_accuracy: Interval
    age_error: Interval  # years beyond the class's limits
    fnmr_change: Interval | None  # relative to the baseline's, at FMR 1 %; -0.3 is 30 % fewer


def by_subject(rows: Iterable[dict]) -> dict[str, dict[int, SubjectRows]]:
    """Rows gathered by variant and subject."""
    gathered: dict[str, dict[int, list[dict]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        gathered[row["variant"]][row["subject"]].append(row)
    return {
        variant: {subject: _joined(found) for subject, found in sorted(subjects.items())}
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
    """One subject's similarities."""

    @property
    def mated(self) -> np.ndarray:
        """Any number of them."""

    @property
    def non_mated(self) -> np.ndarray:
        """Likewise."""


def fnmr(subjects: Sequence[Compared], target: float) -> float:
    """FNMR at the threshold where FMR, over all these subjects, is at most ``target``."""
    mated = np.concatenate([subject.mated for subject in subjects])
    return fnmr_at_fmr(mated, np.concatenate([subject.non_mated for subject in subjects]), target).fnmr


def similarity(subjects: Sequence[Compared]) -> float:
    """Mean over subjects of the mean mated similarity."""
    return float(np.mean([subject.mated.mean() for subject in subjects]))


def age_accuracy(subjects: list[SubjectRows]) -> float:
    """Share of pictures whose estimated age is in the class that was asked for."""
    hits = [class_of(years) == age for one in subjects for years, age in zip(one.years, one.asked, strict=True)]
    return float(np.mean(hits))


def age_error(subjects: list[SubjectRows]) -> float:
    """Mean years by which the estimated age lies outside the class that was asked for."""
    pictures = [pair for one in subjects for pair in zip(one.years, one.asked, strict=True)]
    return float(np.mean([years_off(years, age) for years, age in pictures]))


def fnmr_change(pairs: Sequence[tuple[Compared, Compared]]) -> float:
    """FNMR at FMR 1 % of the first of each pair relative to that of the second, less 1; nan where that is 0."""
    ours, theirs = (fnmr(list(side), FMR_TARGETS[0]) for side in zip(*pairs, strict=True))
    return ours / theirs - 1 if theirs else np.nan


def results(rows: Iterable[dict], variants: Iterable[Variant], baseline: Variant = DREAMBOOTH) -> list[Result]:
    """A line for each of ``variants`` that has rows; changes are against ``baseline``."""
    rows = list(rows)
    measured = by_subject(rows)
    known = measured.get(baseline.name, {})
    found = []
    for variant in variants:
        subjects = measured.get(variant.name)
        if not subjects:
            continue
        both = [(one, known[subject]) for subject, one in subjects.items() if subject in known]
        found.append(_result(variant, list(subjects.values()), [] if variant == baseline else both, rows))
    return found


def _result(variant: Variant, subjects: list[SubjectRows], both: list[tuple], rows: list[dict]) -> Result:
    def bootstrapped(statistic: Callable, units: list = subjects) -> Interval:
        return interval(statistic, units, repetitions=REPETITIONS)

    count = sum(len(subject.non_mated) for subject in subjects)
    rates = {
        f"{target:g}": bootstrapped(lambda drawn, target=target: fnmr(drawn, target))
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


def table(found: list[Result], baseline: str = "DreamBooth") -> str:
    """Markdown, a row a variant; intervals are 95 %, over subjects."""
    head = ["", "FNMR at FMR 1 %", f"against {baseline}", "FNMR at FMR 0.1 %", "similarity", "age class right",
            "years off", "subjects x seeds"]  # fmt: skip
    lines = [head, ["---"] * len(head)]
    for row in found:
        lines.append(
            [
                row.label,
                percent(row.fnmr["0.01"]),
                "" if row.fnmr_change is None else percent(row.fnmr_change, "+.0f"),
                percent(row.fnmr["0.001"]),
                shown(row.similarity, ".3f"),
                percent(row.age_accuracy),
                shown(row.age_error, ".1f"),
                f"{row.subjects} x {row.seeds}",
            ]
        )
    return markdown(lines)


def markdown(lines: list[list[str]]) -> str:
    """A table of ``lines``, of which the first is its head and the second the dashes below."""
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def percent(value: Interval | None, form: str = ".1f") -> str:
    """A share in per cent with its interval, or that it is not supported."""
    return "not supported" if value is None else f"{shown(value, form, 100)} %"


def shown(value: Interval, form: str, scale: float = 1) -> str:
    """A number with its interval; one subject has none."""
    if np.isnan(value.low):
        return f"{value.value * scale:{form}}"
    limits = f"{value.low * scale:{form}} to {value.high * scale:{form}}"
    return f"{value.value * scale:{form}} ({limits})"

"""Compares training methods along their steps, at equal age error and leakage.

With longer training, every method gets more similar to the subject, but gets ages wrong and leaks into other people. So
a method is better only if its similarity is higher at no more age error and leakage.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from training.ages import AGE_CLASSES, DISPLAY_NAMES, class_of, years_off
from training.biometrics.bootstrap import Interval, interval
from training.biometrics.rates import fnmr as share_below
from training.biometrics.rates import fnmr_at_fmr

from .plan import DREAMBOOTH, FIRST, METHODS, TRUE, UNTRAINED, Variant
from .results import FMR_TARGETS, REPETITIONS, fnmr, fnmr_change, formatted, markdown, percent, similarity

FMR = FMR_TARGETS[0]
GRID = 201  # points to interpolate a path


@dataclass(frozen=True)
class StepResult:
    """Numbers of one method at one step on one subject, over all seeds."""

    mated: np.ndarray  # similarities, any number
    non_mated: np.ndarray
    years_off: float  # mean over images
    right: float  # share of images whose estimated age is in the class in the prompt
    leakage: float  # mean similarity of other people's images to the subject's photos; nan without such images


Course = dict[int, StepResult]  # by step


def courses(rows: Iterable[dict]) -> dict[str, dict[int, Course]]:
    """Groups rows by variant and subject; each course starts at the untrained model."""
    gathered: dict[tuple, list[dict]] = defaultdict(list)
    for row in rows:
        gathered[row["variant"], row["subject"], row["step"]].append(row)
    by_variant: dict[str, dict[int, Course]] = defaultdict(lambda: defaultdict(dict))
    for (variant, subject, step), same_step in sorted(gathered.items()):
        by_variant[variant][subject][step] = _step_result(same_step)
    for variant, people in by_variant.items():
        for subject, course in people.items():
            start = by_variant.get(UNTRAINED.name, {}).get(subject, {})
            by_variant[variant][subject] = course if variant == TRUE.name else {**start, **course}
    return {variant: dict(people) for variant, people in by_variant.items()}


def _step_result(rows: list[dict]) -> StepResult:
    pairs = [pair for row in rows for pair in zip(row["years"], row["asked"], strict=True)]
    others = [value for row in rows for value in row.get("others", [])]
    return StepResult(
        np.concatenate([np.ravel(row["mated"]) for row in rows]),
        np.concatenate([np.ravel(row["non_mated"]) for row in rows]),
        float(np.mean([years_off(*pair) for pair in pairs])),
        float(np.mean([class_of(years) == age for years, age in pairs])),
        float(np.mean(others)) if others else np.nan,
    )


def path(people: list[Course]) -> tuple[list[int], np.ndarray]:
    """Returns the steps S in all courses, and [S, 3]: FNMR at FMR 1 % (threshold per step), years off, leakage."""
    steps = sorted(set.intersection(*(set(course) for course in people)))
    points = []
    for step in steps:
        results = [course[step] for course in people]
        means = [float(np.mean([getattr(result, name) for result in results])) for name in ("years_off", "leakage")]
        points.append([fnmr(results, FMR), *means])
    return steps, np.array(points)


def within(steps: list[int], points: np.ndarray, years: float, leakage: float) -> float:
    """Returns the lowest FNMR on the interpolated path with no more ``years`` off and ``leakage``, or nan."""
    along = np.linspace(steps[0], steps[-1], GRID)
    rates, off, leaks = (np.interp(along, steps, column) for column in points.T)
    allowed = (off <= years + 1e-9) & (leaks <= leakage + 1e-9)
    return float(rates[allowed].min()) if allowed.any() else np.nan


def at_equal(pairs: list[tuple[Course, Course]]) -> tuple[float, float]:
    """Returns the first method's FNMR at no more cost than the second has in the middle of its path, and the second's.

    At the end of the path, chance would only count against the first method, whose path ends there too. In a simulation
    with 12 subjects and two equal methods, the first seemed 66 % worse at the end and 9 % worse in the middle.
    """
    ours, theirs = (path(list(side)) for side in zip(*pairs, strict=True))
    rate, years, leakage = theirs[1][len(theirs[0]) // 2]
    return within(*ours, years, leakage), float(rate)


def change(pairs: list[tuple[Course, Course]]) -> float:
    """Returns the first FNMR of at_equal relative to the second, minus 1, or nan if the second is 0."""
    ours, theirs = at_equal(pairs)
    return ours / theirs - 1 if theirs else np.nan


def table(rows: list[dict], methods: Iterable[Variant] = METHODS, compared: bool = True) -> str:
    """Returns a Markdown table with one row per method after its last step, with 95 % intervals over paired subjects.

    With ``compared``, it adds FNMR relative to DreamBooth's after the same number of steps and at equal cost.
    """
    by_variant, lines = courses(rows), []
    dreambooth = by_variant.get(DREAMBOOTH.name, {})
    for method in methods:
        people = by_variant.get(method.name)
        if not people:
            continue
        last = max(step for course in people.values() for step in course)
        ended = [course[last] for course in people.values() if last in course]
        pairs = [(course, dreambooth[subject]) for subject, course in people.items() if subject in dreambooth]
        trainings = len({(row["subject"], row["seed"]) for row in rows if row["variant"] == method.name})
        versus = _against(method, pairs) if compared else []
        lines.append([method.label, *_numbers(ended), *versus, f"{trainings} of {len(people)}"])
    if not lines:
        return ""
    head = ["", "FNMR at FMR 1 %", "similarity", "age class right", "years off", "leakage"]
    if compared:
        head += ["FNMR against DreamBooth's after as many steps", "at equal years off and leakage"]
    head.append("trainings of subjects")
    return markdown([head, ["---"] * len(head), *lines])


def _numbers(results: list[StepResult]) -> list[str]:
    """Returns the cells of a method after its last step."""

    def mean(value: Callable[[StepResult], float]) -> Interval:
        return interval(lambda sample: float(np.mean(list(map(value, sample)))), results, repetitions=REPETITIONS)

    leakage = mean(lambda result: result.leakage)
    return [
        percent(interval(lambda sample: fnmr(sample, FMR), results, repetitions=REPETITIONS)),
        formatted(interval(similarity, results, repetitions=REPETITIONS), ".3f"),
        percent(mean(lambda result: result.right)),
        formatted(mean(lambda result: result.years_off), ".1f"),
        "" if np.isnan(leakage.value) else formatted(leakage, ".3f"),
    ]


def _against(method: Variant, pairs: list[tuple[Course, Course]]) -> list[str]:
    if not pairs or not method.trained or method == DREAMBOOTH:
        return ["", ""]
    last = min(max(course) for pair in pairs for course in pair)
    ended = [(ours[last], theirs[last]) for ours, theirs in pairs]
    changes = interval(fnmr_change, ended, repetitions=REPETITIONS), interval(change, pairs, repetitions=REPETITIONS)
    return ["nowhere" if np.isnan(relative.value) else percent(relative, "+.0f") for relative in changes]


def by_age(rows: list[dict], methods: Iterable[Variant] = FIRST, ages: Sequence[str] = AGE_CLASSES) -> str:
    """Returns a Markdown table with FNMR and mean estimated years per age, one row per method after its last step.

    Each method has one threshold, over all its ages.
    """
    lines = []
    for method in methods:
        own = [row for row in rows if row["variant"] == method.name]
        ended = [row for row in own if row["step"] == max(row["step"] for row in own)]
        if not ended:
            continue
        mated, years = defaultdict(list), defaultdict(list)
        for row in ended:
            for age, mated_row, estimated in zip(row["asked"], row["mated"], row["years"], strict=True):
                mated[age] += mated_row
                years[age].append(estimated)
        similarities = [np.concatenate([np.ravel(row[kind]) for row in ended]) for kind in ("mated", "non_mated")]
        threshold = fnmr_at_fmr(*similarities, FMR).threshold
        cells = [f"{share_below(mated[age], threshold):.0%}, {np.mean(years[age]):.0f} years" for age in ages]
        lines.append([method.label, *cells])
    head = ["FNMR at FMR 1 %, years estimated", *(DISPLAY_NAMES[age] for age in ages)]
    return markdown([head, ["---"] * len(head), *lines]) if lines else ""

"""Ways to train along their steps, held against each other at equal age error and leakage: paths, not points.

Any way that trains longer is more alike, draws ages worse, and draws other people as the subject too. So a way is
better only if it is more alike where it errs and leaks no more than another.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from training.ages import AGE_CLASSES, DISPLAY_NAMES, class_of, years_off
from training.biometrics.bootstrap import Interval, interval
from training.biometrics.rates import fnmr as share_below
from training.biometrics.rates import fnmr_at_fmr

from .plan import DREAMBOOTH, FIRST, TRUE, UNTRAINED, WAYS, Variant
from .results import FMR_TARGETS, REPETITIONS, fnmr, fnmr_change, markdown, percent, shown, similarity

FMR = FMR_TARGETS[0]
GRID = 201  # points on a path


@dataclass(frozen=True)
class Seen:
    """What a step of one way is on one subject, over all seeds."""

    mated: np.ndarray  # similarities, any number
    non_mated: np.ndarray
    years_off: float  # mean over pictures
    right: float  # share of pictures whose estimated age is in the class asked for
    leakage: float  # mean similarity of other people's pictures to the subject's photos; nan where nobody was drawn


Course = dict[int, Seen]  # by step


def courses(rows: Iterable[dict]) -> dict[str, dict[int, Course]]:
    """Rows gathered by variant and subject, each course from the untrained model on."""
    gathered: dict[tuple, list[dict]] = defaultdict(list)
    for row in rows:
        gathered[row["variant"], row["subject"], row["step"]].append(row)
    found: dict[str, dict[int, Course]] = defaultdict(lambda: defaultdict(dict))
    for (variant, subject, step), some in sorted(gathered.items()):
        found[variant][subject][step] = _seen(some)
    for variant, people in found.items():
        for subject, course in people.items():
            start = found.get(UNTRAINED.name, {}).get(subject, {})
            found[variant][subject] = course if variant == TRUE.name else {**start, **course}
    return {variant: dict(people) for variant, people in found.items()}


def _seen(rows: list[dict]) -> Seen:
    pairs = [pair for row in rows for pair in zip(row["years"], row["asked"], strict=True)]
    others = [value for row in rows for value in row.get("others", [])]
    return Seen(
        np.concatenate([np.ravel(row["mated"]) for row in rows]),
        np.concatenate([np.ravel(row["non_mated"]) for row in rows]),
        float(np.mean([years_off(*pair) for pair in pairs])),
        float(np.mean([class_of(years) == age for years, age in pairs])),
        float(np.mean(others)) if others else np.nan,
    )


def path(people: list[Course]) -> tuple[list[int], np.ndarray]:
    """The steps that all have, and at each FNMR at FMR 1 %, years off and leakage [S, 3]; each step its threshold."""
    steps = sorted(set.intersection(*(set(course) for course in people)))
    points = []
    for step in steps:
        seen = [course[step] for course in people]
        means = [float(np.mean([getattr(one, what) for one in seen])) for what in ("years_off", "leakage")]
        points.append([fnmr(seen, FMR), *means])
    return steps, np.array(points)


def within(steps: list[int], points: np.ndarray, years: float, leakage: float) -> float:
    """The lowest FNMR on a path, straight between its points, where it errs and leaks no more; nan where nowhere."""
    along = np.linspace(steps[0], steps[-1], GRID)
    rates, off, leaks = (np.interp(along, steps, column) for column in points.T)
    allowed = (off <= years + 1e-9) & (leaks <= leakage + 1e-9)
    return float(rates[allowed].min()) if allowed.any() else np.nan


def at_equal(pairs: list[tuple[Course, Course]]) -> tuple[float, float]:
    """FNMR of the second ways at the middle of their path, and of the first where these err and leak no more.

    At the end of the path chance would count against the first alone, whose path could not go on either: of two ways
    that are alike the first then seemed 66 % worse in a simulation of 12 subjects; in the middle, 9 %.
    """
    ours, theirs = (path(list(side)) for side in zip(*pairs, strict=True))
    rate, years, leakage = theirs[1][len(theirs[0]) // 2]
    return within(*ours, years, leakage), float(rate)


def change(pairs: list[tuple[Course, Course]]) -> float:
    """The first FNMR of at_equal relative to the second, less 1; nan where that is 0."""
    ours, theirs = at_equal(pairs)
    return ours / theirs - 1 if theirs else np.nan


def table(rows: list[dict], ways: Iterable[Variant] = WAYS, compared: bool = True) -> str:
    """Markdown, a row a way after its last step; intervals are 95 %, over subjects, which are paired.

    With ``compared`` FNMR stands against DreamBooth's too, once after as many steps, once at equal cost.
    """
    found, lines = courses(rows), []
    known = found.get(DREAMBOOTH.name, {})
    for way in ways:
        people = found.get(way.name)
        if not people:
            continue
        last = max(step for course in people.values() for step in course)
        ended = [course[last] for course in people.values() if last in course]
        pairs = [(course, known[subject]) for subject, course in people.items() if subject in known]
        trainings = len({(row["subject"], row["seed"]) for row in rows if row["variant"] == way.name})
        versus = _against(way, pairs) if compared else []
        lines.append([way.label, *_ended(ended), *versus, f"{trainings} of {len(people)}"])
    if not lines:
        return ""
    head = ["", "FNMR at FMR 1 %", "similarity", "age class right", "years off", "leakage"]
    if compared:
        head += ["FNMR against DreamBooth's after as many steps", "at equal years off and leakage"]
    head.append("trainings of subjects")
    return markdown([head, ["---"] * len(head), *lines])


def _ended(seen: list[Seen]) -> list[str]:
    """What a way is after its last step."""

    def mean(what: Callable[[Seen], float]) -> Interval:
        return interval(lambda drawn: float(np.mean([what(one) for one in drawn])), seen, repetitions=REPETITIONS)

    leaks = mean(lambda one: one.leakage)
    return [
        percent(interval(lambda drawn: fnmr(drawn, FMR), seen, repetitions=REPETITIONS)),
        shown(interval(similarity, seen, repetitions=REPETITIONS), ".3f"),
        percent(mean(lambda one: one.right)),
        shown(mean(lambda one: one.years_off), ".1f"),
        "" if np.isnan(leaks.value) else shown(leaks, ".3f"),
    ]


def _against(way: Variant, pairs: list[tuple[Course, Course]]) -> list[str]:
    if not pairs or not way.trained or way == DREAMBOOTH:
        return ["", ""]
    last = min(max(course) for pair in pairs for course in pair)
    ended = [(ours[last], theirs[last]) for ours, theirs in pairs]
    changes = interval(fnmr_change, ended, repetitions=REPETITIONS), interval(change, pairs, repetitions=REPETITIONS)
    return ["nowhere" if np.isnan(one.value) else percent(one, "+.0f") for one in changes]


def by_age(rows: list[dict], ways: Iterable[Variant] = FIRST, ages: Sequence[str] = AGE_CLASSES) -> str:
    """Markdown, a row a way after its last step: of each age asked for FNMR and the mean of the estimated years.

    A way's threshold is that of all its ages together.
    """
    lines = []
    for way in ways:
        mine = [row for row in rows if row["variant"] == way.name]
        ended = [row for row in mine if row["step"] == max(one["step"] for one in mine)]
        if not ended:
            continue
        mated, years = defaultdict(list), defaultdict(list)
        for row in ended:
            for age, similarities, estimated in zip(row["asked"], row["mated"], row["years"], strict=True):
                mated[age] += similarities
                years[age].append(estimated)
        everyone = [np.concatenate([np.ravel(row[kind]) for row in ended]) for kind in ("mated", "non_mated")]
        threshold = fnmr_at_fmr(*everyone, FMR).threshold
        cells = [f"{share_below(mated[age], threshold):.0%}, {np.mean(years[age]):.0f} years" for age in ages]
        lines.append([way.label, *cells])
    head = ["FNMR at FMR 1 %, years estimated", *(DISPLAY_NAMES[age] for age in ages)]
    return markdown([head, ["---"] * len(head), *lines]) if lines else ""

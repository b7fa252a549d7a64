"""Ways to train along their steps, held against each other at equal age error and leakage: paths, not points.

Any way that trains longer is more alike, draws ages worse, and draws other people as the subject too. So a way is
better only if it is more alike where it errs and leaks no more than another.
"""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..ages import AGE_CLASSES, class_of, fill_prompt, years_off
from ..biometrics.bootstrap import Interval, interval
from ..cast.queue import Queue, in_turn
from ..dreambooth.trainer import Progress, Trainer
from ..faces.age_estimators import CropAgeEstimator
from ..pictures.photos import to_image
from ..world.draw.population import HELD_OUT
from ..world.shipped import age_estimator
from . import plan as plans
from .plan import DREAMBOOTH, SEEDS, TRUE, UNTRAINED, Size, Trial, Variant
from .recipe import PRESET, regularization_set, subject_set, trainer_of
from .results import FMR_TARGETS, REPETITIONS, fnmr, markdown, percent, shown, similarity
from .trials import jury, measure_missing, true_pictures

PEOPLE = range(HELD_OUT + 48, HELD_OUT + 60)  # nobody on whom a setting, a loss or a reward was tried
FMR = FMR_TARGETS[0]
GRID = 201  # points on a path
REWARD = {"loss": "none", "reward_every": 3, "reward_start": 0.0}
FIRST = (
    TRUE,
    UNTRAINED,
    Variant("plain", "plain", {"loss": "none"}, regularized=False),
    DREAMBOOTH,
    Variant("reward", "+ reward", REWARD),
)
REST = (
    Variant("reward-identity", "+ reward of identity alone", REWARD | {"reward_age": 0.0}),
    Variant("reward-anchor", "+ reward and anchor", REWARD | {"reward_anchor": 1.0}),
    Variant("prior-0.3", "DreamBooth, prior 0.3", {"loss": "none", "prior_loss_weight": 0.3}),
    Variant("prior-0.1", "DreamBooth, prior 0.1", {"loss": "none", "prior_loss_weight": 0.1}),
    Variant("biometric-0.02", "+ biometric 0.02", {"loss": "biometric", "loss_weight": 0.02}),
    Variant("triplet-0.1", "+ triplet", {"loss": "triplet", "loss_weight": 0.1}),
)
WAYS = (*FIRST, *REST)
QUICK = (UNTRAINED, DREAMBOOTH, FIRST[-1])


def plan(size: Size, seeds: int) -> list[Trial]:
    """Every training, of everybody the first ways before the others, so that a stopped study has a table."""
    people, groups = (PEOPLE[:1], (QUICK,)) if size == plans.QUICK else (PEOPLE, (FIRST, REST))
    return [
        Trial(way, person, seed)
        for seed in SEEDS[:seeds]
        for ways in groups
        for person in people
        for way in ways
        if way.trained or seed == 0
    ]


def measure_all(
    trials: list[Trial], file: Path, size: Size, progress: Callable[[], None], queue: Queue = in_turn
) -> None:
    """Runs the ``trials`` that ``file`` does not hold yet, and keeps a row of each step on their paths."""
    items = {trial.name: trial for trial in trials}
    names = {name: [f"{name}/{step}" for step in _steps(trial, size)] for name, trial in items.items()}
    measure_missing(file, items, names, functools.partial(_measured, size=size), progress, queue)


def _steps(trial: Trial, size: Size) -> tuple[int, ...]:
    return size.path if trial.variant.trained else (0,)


def _measured(trial: Trial, size: Size) -> list[dict]:
    subject, rows = subject_set(trial.subject), []
    judges = jury(size.noises, "age-judge")  # the first age estimator is in the reward

    def keep_row(step: int, pictures, others) -> None:
        known = {"variant": trial.variant.name, "subject": trial.subject, "seed": trial.seed, "step": step}
        seen = {"others": judges.alike(others, subject)} if others else {}
        rows.append({"trial": f"{trial.name}/{step}"} | known | judges.measure(pictures, subject) | seen)

    if trial.variant == TRUE:
        keep_row(0, true_pictures(trial.subject, len(size.noises)), None)
        return rows
    config = trial.variant.config(trial.seed, size.path[-1])
    asked = [fill_prompt(config.regularization_prompt, age=age) for age in AGE_CLASSES]
    trainer = trainer_of(
        subject,
        regularization_set() if trial.variant.regularized else None,
        config,
        estimator=CropAgeEstimator(age_estimator()) if config.reward_every else None,
        extra_prompts=asked,
    )

    def look(progress: Progress | None = None) -> None:
        step = progress.step if progress else 0
        if step in _steps(trial, size):
            keep_row(step, judges.draw(trainer), _others(trainer, asked, size.noises))

    if trial.variant.trained:
        trainer.run(None, [look])
    else:
        look()
    return rows


def _others(trainer: Trainer, prompts: list[str], noises: tuple[int, ...]) -> list:
    """Other people at the six ages, from the noises from which the subject is drawn."""
    side = trainer.data.resolution
    return [
        to_image(one) for seed in noises for one in trainer.model.draw(prompts, side, seed, PRESET, 6, lambda: None)
    ]


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
    others = [value for row in rows for value in np.ravel(row.get("others", []))]
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


def table(rows: list[dict], ways: Iterable[Variant] = WAYS) -> str:
    """Markdown, a row a way; intervals are 95 %, over subjects, which are paired where ways are compared."""
    found, lines = courses(rows), []
    known = found.get(DREAMBOOTH.name, {})
    for way in ways:
        people = found.get(way.name)
        if not people:
            continue
        last = max(step for course in people.values() for step in course)
        ended = [course[last] for course in people.values() if last in course]
        pairs = [(course, known[subject]) for subject, course in people.items() if subject in known]
        seeds = len({row["seed"] for row in rows if row["variant"] == way.name})
        lines.append([way.label, str(last), *_ended(ended), *_against(way, pairs), f"{len(people)} x {seeds}"])
    if not lines:
        return ""
    head = ["", "steps", "FNMR at FMR 1 %", "similarity", "age class right", "years off", "leakage",
            "FNMR at equal years off and leakage", "against DreamBooth", "subjects x seeds"]  # fmt: skip
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
    rate = interval(lambda drawn: at_equal(drawn)[0], pairs, repetitions=REPETITIONS)
    return [percent(rate), percent(interval(change, pairs, repetitions=REPETITIONS), "+.0f")]

"""Compares the step that a judge chose during training with the last step."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from training.ages import AGE_CLASSES
from training.biometrics.bootstrap import Interval, interval
from training.cast.queue import Queue, in_turn
from training.catalogue import SYNTHETIC_AGES, load_age_estimator
from training.dreambooth.trainer import Progress
from training.faces.observation import Observer
from training.runs.evaluations import Evaluation, Judge, best
from training.runs.previews import generate_ages
from training.world.recipe import regularization_set, subject_set, trainer_of
from training.world.render.place import known_place
from training.world.shipped import world_embedder

from .plan import DREAMBOOTH, Size, Variant
from .results import Result, results
from .trials import jury, measure_missing

LAST = Variant("last", "the last step")
CHOSEN = Variant("chosen", "the step that the judge chose")


def watch_all(file: Path, size: Size, progress: Callable[[], None], queue: Queue = in_turn) -> None:
    """Trains each person that is missing in ``file`` with DreamBooth, and saves a row per look."""
    items = {f"watched/{person}": person for person in size.watched}
    names = {name: [f"{person}/{step}" for step in range(size.watched_steps + 1)] for name, person in items.items()}
    measure_missing(file, items, names, functools.partial(_watched, size=size), progress, queue)


def _watched(person: int, size: Size) -> list[dict]:
    """Returns one row per look: the judge's numbers on the preview, and the jury's on other images."""
    subject, judges = subject_set(person), jury(size.noises)
    trainer = trainer_of(subject, regularization_set(), DREAMBOOTH.config(0, size.watched_steps))
    # No training here uses the loss embedder, so it can judge; the jury has the scoring embedder.
    judge = Judge.of(subject, Observer(known_place, world_embedder("loss"), load_age_estimator(SYNTHETIC_AGES)))
    rows = []

    def look(progress: Progress) -> None:
        if progress.step % size.look_every == 0:
            judged = asdict(judge.evaluate(progress.step, generate_ages(trainer)))
            row = {"trial": f"{person}/{progress.step}", "subject": person, "seed": 0, "look": judged}
            rows.append(row | judges.measure(judges.generate(trainer), subject))

    trainer.run(callbacks=[look])
    return rows


def chosen_and_last(rows: Iterable[dict]) -> list[dict]:
    """Returns for each subject the rows of the last step and of the best look, labelled by variant."""
    people: dict[int, list[dict]] = {}
    for row in rows:
        people.setdefault(row["subject"], []).append(row)
    labelled = []
    for own_rows in people.values():
        evaluations = [Evaluation(**row["look"]) for row in own_rows]
        last = max(evaluations, key=lambda look: look.step)
        chosen = best(evaluations) or last
        for variant, step in ((LAST, last.step), (CHOSEN, chosen.step)):
            labelled += [row | {"variant": variant.name} for row in own_rows if row["look"]["step"] == step]
    return labelled


def compared(rows: Iterable[dict]) -> list[Result]:
    """Returns the lines of the last and the chosen step, with the change relative to the last."""
    return results(chosen_and_last(rows), (LAST, CHOSEN), LAST)


def score(row: dict) -> float:
    """Returns the jury's identity x age over each noise's six images, averaged over noises."""
    similarities = np.reshape([np.mean(picture) for picture in row["mated"]], (-1, len(AGE_CLASSES))).tolist()
    years = np.reshape(row["years"], (-1, len(AGE_CLASSES))).tolist()
    return float(np.mean([Evaluation(0, *numbers).score for numbers in zip(similarities, years, strict=True)]))


def gain(rows: Iterable[dict]) -> tuple[float, Interval]:
    """Returns the jury's mean score of the last step over subjects, and the chosen step's gain over it."""
    scores = {(row["variant"], row["subject"]): score(row) for row in chosen_and_last(rows)}
    last = {subject: value for (variant, subject), value in scores.items() if variant == LAST.name}
    differences = [scores[CHOSEN.name, subject] - value for subject, value in last.items()]
    return float(np.mean(list(last.values()))), interval(lambda sample: float(np.mean(sample)), differences)


def steps_chosen(rows: Iterable[dict]) -> list[int]:
    """Returns the chosen step of each subject."""
    return [row["look"]["step"] for row in chosen_and_last(rows) if row["variant"] == CHOSEN.name]

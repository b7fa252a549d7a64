"""Does the step that a judge chose while it trained beat the last one?"""

import functools
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path

import numpy as np

from training.ages import AGE_CLASSES
from training.biometrics.bootstrap import Interval, interval
from training.cast.queue import Queue, in_turn
from training.catalogue import DRAWN_AGES, load_age_estimator
from training.dreambooth.trainer import Progress
from training.faces.observation import Observer
from training.runs.looks import Judge, Look, best
from training.runs.previews import draw_ages
from training.world.recipe import regularization_set, subject_set, trainer_of
from training.world.render.place import known_place
from training.world.shipped import world_embedder

from .plan import DREAMBOOTH, Size, Variant
from .results import Result, results
from .trials import jury, measure_missing

LAST = Variant("last", "the last step")
CHOSEN = Variant("chosen", "the step that the judge chose")


def watch_all(file: Path, size: Size, progress: Callable[[], None], queue: Queue = in_turn) -> None:
    """Trains every person that ``file`` does not hold yet with DreamBooth, and keeps a row of each look."""
    items = {f"watched/{person}": person for person in size.watched}
    names = {name: [f"{person}/{step}" for step in range(size.watched_steps + 1)] for name, person in items.items()}
    measure_missing(file, items, names, functools.partial(_watched, size=size), progress, queue)


def _watched(person: int, size: Size) -> list[dict]:
    """A row for each look: what the judge saw of the preview, and what the jury measures of other pictures."""
    subject, judges = subject_set(person), jury(size.noises)
    trainer = trainer_of(subject, regularization_set(), DREAMBOOTH.config(0, size.watched_steps))
    # The loss embedder trains nobody here, so it may judge; the jury's is the other one.
    judge = Judge.of(subject, Observer(known_place, world_embedder("loss"), load_age_estimator(DRAWN_AGES)))
    rows = []

    def look(progress: Progress) -> None:
        if progress.step % size.look_every == 0:
            seen = asdict(judge.look(progress.step, draw_ages(trainer)))
            row = {"trial": f"{person}/{progress.step}", "subject": person, "seed": 0, "look": seen}
            rows.append(row | judges.measure(judges.draw(trainer), subject))

    trainer.run(callbacks=[look])
    return rows


def chosen_and_last(rows: Iterable[dict]) -> list[dict]:
    """Of each subject the row of the best look and that of the last step, named so."""
    people: dict[int, list[dict]] = {}
    for row in rows:
        people.setdefault(row["subject"], []).append(row)
    named = []
    for seen in people.values():
        looks = [Look(**row["look"]) for row in seen]
        last = max(looks, key=lambda look: look.step)
        chosen = best(looks) or last
        for variant, step in ((LAST, last.step), (CHOSEN, chosen.step)):
            named += [row | {"variant": variant.name} for row in seen if row["look"]["step"] == step]
    return named


def compared(rows: Iterable[dict]) -> list[Result]:
    """The last step's line and the chosen one's, whose change is against it."""
    return results(chosen_and_last(rows), (LAST, CHOSEN), LAST)


def score(row: dict) -> float:
    """Identity x age as the jury sees them: of each noise's six pictures, then the mean over noises."""
    similarities = np.reshape([np.mean(picture) for picture in row["mated"]], (-1, len(AGE_CLASSES))).tolist()
    years = np.reshape(row["years"], (-1, len(AGE_CLASSES))).tolist()
    return float(np.mean([Look(0, *seen).score for seen in zip(similarities, years, strict=True)]))


def gain(rows: Iterable[dict]) -> tuple[float, Interval]:
    """The jury's score of the last step, and how much higher that of the chosen step is; means over subjects."""
    scores = {(row["variant"], row["subject"]): score(row) for row in chosen_and_last(rows)}
    last = {subject: value for (variant, subject), value in scores.items() if variant == LAST.name}
    differences = [scores[CHOSEN.name, subject] - value for subject, value in last.items()]
    return float(np.mean(list(last.values()))), interval(lambda drawn: float(np.mean(drawn)), differences)


def steps_chosen(rows: Iterable[dict]) -> list[int]:
    """The chosen step of each subject."""
    return [row["look"]["step"] for row in chosen_and_last(rows) if row["variant"] == CHOSEN.name]

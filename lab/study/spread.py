"""Compares photos of several ages with as many photos of one age, against the person rendered at each age."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from training.ages import AGE_CLASSES, DISPLAY_NAMES, class_middle
from training.cast.queue import Queue, in_turn
from training.data.dataset import SubjectSet, find_faces
from training.pictures.photos import Photo
from training.world.recipe import regularization_set, trainer_of
from training.world.render.photos import photos
from training.world.render.place import known_place

from .plan import DREAMBOOTH, Size, Variant
from .results import Result, formatted, markdown, percent, results
from .trials import jury, measure_missing

COUNT = 9  # photos of each person
TRUTH_VIEWS = range(200, 204)  # not used in photos


@dataclass(frozen=True)
class Photographed:
    """The ages in a person's photos."""

    name: str
    label: str
    years: tuple[int, ...]


ALBUMS = (
    Photographed("at-28", f"{COUNT} photos at 28", (28,)),
    Photographed("spread", f"{COUNT} photos at 8, 28 and 60", (8, 28, 60)),
)


def album(person: int, photographed: Photographed) -> SubjectSet:
    """Returns photos of the held-out ``person`` with known ages, the same number at each age."""
    aged_photos = []
    for place, years in enumerate(photographed.years):
        count = COUNT // len(photographed.years)
        pictures = photos(person, years, count, place * count)
        aged_photos += [Photo(f"{years}_{number}.png", picture, age=years) for number, picture in enumerate(pictures)]
    return find_faces(aged_photos, known_place)


def measure_all(file: Path, size: Size, progress: Callable[[], None], queue: Queue = in_turn) -> None:
    """Trains each person that is missing in ``file`` from each of the ALBUMS, with plain DreamBooth."""
    items = {
        f"{photographed.name}/{person}": (person, photographed) for person in size.watched for photographed in ALBUMS
    }
    names = {name: [name] for name in items}
    measure_missing(file, items, names, functools.partial(_measured, size=size), progress, queue)


def _measured(trial: tuple[int, Photographed], size: Size) -> list[dict]:
    (person, photographed), judges = trial, jury(size.noises)
    trainer = trainer_of(album(person, photographed), regularization_set(), DREAMBOOTH.config(0, size.steps))
    trainer.run()
    row = judges.measure(judges.generate(trainer), truth(person))
    views = len(TRUTH_VIEWS)
    first = {age: views * place for place, age in enumerate(AGE_CLASSES)}
    row["mated"] = [line[first[age] : first[age] + views] for age, line in zip(row["asked"], row["mated"], strict=True)]
    labels = {"trial": f"{photographed.name}/{person}", "variant": photographed.name, "subject": person, "seed": 0}
    return [labels | row]


def truth(person: int) -> SubjectSet:
    """Renders the person at the middle of each age class, in the classes' order."""
    pictures = [
        Photo(age, picture, age=age)
        for age in AGE_CLASSES
        for picture in photos(person, class_middle(age), len(TRUTH_VIEWS), TRUTH_VIEWS.start)
    ]
    return find_faces(pictures, known_place)


def by_age(rows: Iterable[dict]) -> dict[str, list[Result]]:
    """Returns for each age class in the prompts one result per album that has rows."""
    rows, variants = list(rows), [Variant(photographed.name, photographed.label) for photographed in ALBUMS]
    asked = {age for row in rows for age in row["asked"]}
    return {
        age: results([_only(row, age) for row in rows], variants, baseline=variants[0])
        for age in AGE_CLASSES
        if age in asked
    }


def _only(row: dict, age: str) -> dict:
    chosen = [number for number, asked in enumerate(row["asked"]) if asked == age]
    parts = ("asked", "years", "mated", "non_mated")
    return row | {part: [row[part][number] for number in chosen] for part in parts}


def table(rows: Iterable[dict]) -> str:
    """Returns a Markdown table with one row per age class; empty unless both ALBUMS have rows."""
    by_class = {age: pair for age, pair in by_age(rows).items() if len(pair) == len(ALBUMS)}
    if not by_class:
        return ""
    head = ["asked for"] + [
        f"{photographed.label}: {column}"
        for column in ("FNMR at FMR 1 %", "similarity to the truth", "years off")
        for photographed in ALBUMS
    ]
    lines = [head, ["---"] * len(head)]
    for age, pair in by_class.items():
        rates = [percent(result.fnmr["0.01"]) for result in pair]
        similarities = [formatted(result.similarity, ".3f") for result in pair]
        errors = [formatted(result.age_error, ".1f") for result in pair]
        lines.append([DISPLAY_NAMES[age], *rates, *similarities, *errors])
    return markdown(lines)

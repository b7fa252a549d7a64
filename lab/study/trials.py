"""Saves rows of trials, and evaluates generated images with a jury."""

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from PIL import Image

from training.ages import AGE_CLASSES, class_middle
from training.biometrics.comparisons import against
from training.cast.queue import Queue, all_of
from training.data.dataset import SubjectSet
from training.dreambooth.trainer import Trainer
from training.faces.observation import Observation
from training.files import written
from training.pictures.photos import to_image
from training.records import from_json, parse_json
from training.world.recipe import generate_six, synthetic_observer
from training.world.render.face import draw
from training.world.render.photos import photos
from training.world.render.population import some_ages
from training.world.render.traits import identities, views

from .plan import OTHERS

Item = TypeVar("Item")
DIGITS = 3  # of a saved similarity


@dataclass(frozen=True)
class _Row:
    trial: str


def read(file: Path) -> dict[str, dict]:
    """Returns the saved rows of a study by trial name."""
    lines = file.read_text().splitlines() if file.is_file() else []
    rows = {}
    for number, line in enumerate(lines, 1):
        row = parse_json(line, source := f"Line {number} of {file}")
        rows[from_json(_Row, row, source).trial] = row
    return rows


def measure_missing(
    file: Path,
    items: Mapping[str, Item],
    names: Mapping[str, list[str]],
    work: Callable[[Item], list[dict]],
    progress: Callable[[], None],
    queue: Queue,
) -> None:
    """Runs ``work`` on each of ``items`` whose last row is missing in ``file``, and saves the returned rows there.

    ``names`` lists the row names of each item and sets the order of rows; ``progress`` is called once per item.
    """
    rows = read(file)
    places = {name: place for place, name in enumerate(name for row_names in names.values() for name in row_names)}
    todo = {name: item for name, item in items.items() if names[name][-1] not in rows}
    for _ in range(len(items) - len(todo)):
        progress()
    for measured in all_of(queue(work, todo)):
        rows.update({row["trial"]: row for row in measured})
        ordered = sorted(rows.values(), key=lambda row: places.get(row["trial"], -1))
        with written(file) as temporary:
            temporary.write_text("".join(json.dumps(row) + "\n" for row in ordered))
        progress()


class Jury:
    """An observer that no training uses, other people to compare with, and noises to generate from."""

    def __init__(self, noises: tuple[int, ...], ages: str):
        self.observer, self.noises = synthetic_observer(ages), noises
        faces = draw(identities(OTHERS), some_ages(OTHERS), views(OTHERS))
        self.others = [self.observer.observe("another", to_image(face)) for face in faces]

    def generate(self, trainer: Trainer) -> list[Image.Image]:
        """Generates the six ages from each noise."""
        return [picture for seed in self.noises for picture in generate_six(trainer, seed)]

    def measure(self, pictures: list[Image.Image], subject: SubjectSet) -> dict:
        """Returns similarities of each image to each photo (mated) and other person (non-mated), and estimated ages."""
        asked = list(AGE_CLASSES) * len(self.noises)
        observed = [self.observer.observe(age, picture, age) for age, picture in zip(asked, pictures, strict=True)]
        photos = self._photos(subject)
        return {
            "asked": asked,
            "years": [round(image.estimate.years, 1) for image in observed if image.estimate],
            "mated": against(observed, photos).matrix.round(DIGITS).tolist(),
            "non_mated": against(observed, self.others).matrix.round(DIGITS).tolist(),
        }

    def alike(self, pictures: list[Image.Image], subject: SubjectSet) -> list[float]:
        """Returns the mean similarity to the photos of each image of another person."""
        observed = [self.observer.observe("another", picture) for picture in pictures]
        return against(observed, self._photos(subject)).matrix.mean(axis=1).round(DIGITS).tolist()

    def _photos(self, subject: SubjectSet) -> list[Observation]:
        return [self.observer.observe(photo.name, photo.image()) for photo in subject.photos]


@functools.cache  # one per process, which runs many trials
def jury(noises: tuple[int, ...], ages: str = "age") -> Jury:
    """Returns the jury for images from ``noises``; ``ages`` names the age estimator."""
    return Jury(noises, ages)


def true_pictures(person: int, count: int) -> list[Image.Image]:
    """Renders the person at the middle of each age class, in ``count`` views that are not used in photos."""
    return [photos(person, class_middle(age), 1, view)[0] for view in range(100, 100 + count) for age in AGE_CLASSES]

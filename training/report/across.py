"""Requested age x photo age: similarities of generated images to photos of each age, and of photos to each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..ages import AGE_CLASSES, as_class, display_name
from ..biometrics.comparisons import Comparisons, against, among
from ..errors import InvalidData
from ..faces.observation import Observation


@dataclass(frozen=True)
class Cell:
    """The comparisons between two ages."""

    mean: float  # mean similarity; nan without comparisons
    comparisons: int


@dataclass(frozen=True)
class AcrossAges:
    """The table. It has one column per age class in the training photos and one per age class in the held-out photos.

    Held-out photos are the ground truth at their age. The rows of ``real`` are the yardstick: comparisons of real
    photos of the subject across the same age gap.
    """

    columns: list[str]
    drawn: dict[str, list[Cell]]  # by requested age class
    real: dict[str, list[Cell]]  # by age class of the photo
    ageless: int  # photos of unknown age; they are in no column


def across_ages(
    images: Sequence[Observation], references: Sequence[Observation], held_out: Sequence[Observation]
) -> AcrossAges | None:
    """Returns the table; None if it would have fewer than two columns.

    Raises UserError if there are held-out photos and none of them has a known age.
    """
    if held_out and not any(map(_class, held_out)):
        raise InvalidData(
            f"None of the {len(held_out)} held-out photos has a known age, so they cannot serve as ground truth. Put "
            "ages into their names (34_beach.jpg, child_2.jpg), or list their ages."
        )
    photos = [*references, *held_out]
    keys = [(held, _class(photo)) for held, side in ((False, references), (True, held_out)) for photo in side]
    columns = sorted({key for key in keys if key[1]}, key=lambda key: (key[0], AGE_CLASSES.index(key[1])))
    if len(columns) < 2:
        return None

    masks = [np.array([key == column for key in keys]) for column in columns]

    def rows(compared: Comparisons, symmetric: bool) -> dict[str, list[Cell]]:
        classes = np.array([_class(picture) for picture in compared.pictures])
        return {
            age: [_cell(compared, np.outer(classes == age, mask), symmetric) for mask in masks]
            for age in AGE_CLASSES
            if age in classes
        }

    names = [display_name(age) + (", held out" if held else "") for held, age in columns]
    ageless = sum(photo.age is None for photo in photos)
    return AcrossAges(names, rows(against(images, photos), False), rows(among(photos), True), ageless)


def _class(picture: Observation) -> str:
    return "" if picture.age is None else as_class(picture.age)


def _cell(compared: Comparisons, selected: np.ndarray, symmetric: bool) -> Cell:
    """``symmetric``: photos against each other. If the cell contains (a, b) and (b, a), the pair counts once."""
    if symmetric:
        selected = selected & ~(np.tril(selected) & selected.T)
    similarities = compared.where(selected).similarities
    return Cell(float(similarities.mean()) if similarities.size else np.nan, similarities.size)

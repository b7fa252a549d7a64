"""Asked age x photo age: how alike drawn pictures are to photos of each age, and these photos to each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..ages import AGE_CLASSES, as_class, display_name
from ..biometrics.comparisons import Comparisons, against, among
from ..errors import UserError
from ..faces.observation import Observation


@dataclass(frozen=True)
class Cell:
    """The comparisons of one age with another."""

    mean: float  # similarity; nan where there is no comparison
    comparisons: int


@dataclass(frozen=True)
class AcrossAges:
    """A column for each age class in the photos, and for each in those that were held out of the training.

    Held-out photos are the truth at their age. The rows of ``real`` are the yardstick: one real photo of the person
    against another across the same gap.
    """

    columns: list[str]
    drawn: dict[str, list[Cell]]  # by the class that was asked for
    real: dict[str, list[Cell]]  # by the class of the photo
    ageless: int  # photos of unknown age, which are in no column


def across_ages(
    images: Sequence[Observation], references: Sequence[Observation], held_out: Sequence[Observation]
) -> AcrossAges | None:
    """The table; None where the photos of known age show one age class and none was held out.

    Raises UserError where photos were held out and none of them has an age.
    """
    if held_out and not any(map(_class, held_out)):
        raise UserError(
            f"No age is known of any of the {len(held_out)} held-out photos, so they are the truth of nothing. Name "
            "them by their age (34_beach.jpg, child_2.jpg), or list their ages."
        )
    photos = [*references, *held_out]
    kinds = [(held, _class(photo)) for held, side in ((False, references), (True, held_out)) for photo in side]
    columns = sorted({kind for kind in kinds if kind[1]}, key=lambda kind: (kind[0], AGE_CLASSES.index(kind[1])))
    if len(columns) < 2:
        return None

    places = [np.array([kind == column for kind in kinds]) for column in columns]

    def rows(compared: Comparisons, own: bool) -> dict[str, list[Cell]]:
        shown = np.array([_class(picture) for picture in compared.pictures])
        return {
            age: [_cell(compared, np.outer(shown == age, place), own) for place in places]
            for age in AGE_CLASSES
            if age in shown
        }

    names = [display_name(age) + (", held out" if held else "") for held, age in columns]
    ageless = sum(photo.age is None for photo in photos)
    return AcrossAges(names, rows(against(images, photos), False), rows(among(photos), True), ageless)


def _class(picture: Observation) -> str:
    return "" if picture.age is None else as_class(picture.age)


def _cell(compared: Comparisons, chosen: np.ndarray, own: bool) -> Cell:
    """``own``: photos among themselves, where a pair whose two ways round are both in the cell counts once."""
    if own:
        chosen = chosen & ~(np.tril(chosen) & chosen.T)
    similarities = compared.where(chosen).similarities
    return Cell(float(similarities.mean()) if similarities.size else np.nan, similarities.size)

"""Similarities of images to the reference photos of a subject: the table that everything else reads."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from ..ages import classes_apart
from ..faces.observation import Observation


@dataclass(frozen=True)
class Comparisons:
    """Cosine similarities of ``pictures`` to ``references``.

    The comparisons are mated if the pictures show the subject, non-mated if they show other people.
    """

    pictures: tuple[Observation, ...]
    references: tuple[Observation, ...]
    matrix: np.ndarray  # float64 [P, R] in [-1, 1]; nan if not compared, for example without a face

    @cached_property
    def per_picture(self) -> list[np.ndarray]:
        """One array of similarities per picture that has any."""
        rows = [row[~np.isnan(row)] for row in self.matrix]
        return [row for row in rows if row.size]

    @cached_property
    def similarities(self) -> np.ndarray:
        """All similarities [N]."""
        return self.matrix[~np.isnan(self.matrix)]

    @property
    def failures_to_detect(self) -> int:
        """Number of pictures without a detected face."""
        return len(self.pictures) - len(with_face(self.pictures))

    @property
    def means(self) -> list[float | None]:
        """The mean similarity per picture; None if it has none."""
        return [None if np.isnan(row).all() else float(np.nanmean(row)) for row in self.matrix]

    def best(self, number: int) -> tuple[float, Observation] | None:
        """Returns the highest similarity of picture ``number`` and its reference; None if it has no similarity."""
        row = self.matrix[number]
        return None if np.isnan(row).all() else (float(np.nanmax(row)), self.references[int(np.nanargmax(row))])

    def of(self, numbers: Sequence[int] | np.ndarray) -> "Comparisons":
        """Returns the comparisons of the pictures at ``numbers`` only."""
        return Comparisons(tuple(self.pictures[number] for number in numbers), self.references, self.matrix[numbers])

    def where(self, kept: np.ndarray) -> "Comparisons":
        """Returns only the comparisons selected by ``kept``, bool [P, R]."""
        return replace(self, matrix=np.where(kept, self.matrix, np.nan))

    def nearest_in_age(self) -> "Comparisons":
        """Keeps, per picture, the references with the nearest age class; all references if no age is known."""
        kept = np.ones(self.matrix.shape, dtype=bool)
        for row, picture in zip(kept, self.pictures, strict=True):
            apart = np.array([_classes_apart(picture, reference) for reference in self.references])
            row[:] = np.isnan(apart).all() or apart == np.nanmin(apart)
        return self.where(kept)

    def each_pair_once(self) -> "Comparisons":
        """Keeps each pair once if pictures and references are the same list: (a, b) and (b, a) are one comparison."""
        return self.where(np.triu(np.ones(self.matrix.shape, dtype=bool)))


def against(pictures: Sequence[Observation], references: Sequence[Observation]) -> Comparisons:
    """Compares every picture that has a face with every reference that has one."""
    matrix = np.full((len(pictures), len(references)), np.nan)
    rows, columns = ([item.vector is not None for item in side] for side in (pictures, references))
    if any(rows) and any(columns):
        matrix[np.ix_(rows, columns)] = _unit(pictures) @ _unit(references).T
    return Comparisons(tuple(pictures), tuple(references), matrix)


def among(references: Sequence[Observation]) -> Comparisons:
    """Compares every reference with all others (leave one out), as a yardstick from real photos."""
    compared = against(references, references)
    return replace(compared, matrix=np.where(np.eye(len(references), dtype=bool), np.nan, compared.matrix))


def with_face(pictures: Sequence[Observation]) -> list[Observation]:
    """Returns the pictures with a detected face."""
    return [picture for picture in pictures if picture.vector is not None]


def _classes_apart(picture: Observation, reference: Observation) -> float:
    """Returns the distance in age classes; nan if an age is unknown or the reference has no face."""
    if picture.age is None or reference.age is None or reference.vector is None:
        return np.nan
    return classes_apart(picture.age, reference.age)


def _unit(pictures: Sequence[Observation]) -> np.ndarray:
    """Returns the unit vectors [N, D], float64, of the pictures with a face."""
    vectors = torch.stack([picture.vector for picture in pictures if picture.vector is not None])
    return torch.nn.functional.normalize(vectors.double()).numpy()

"""The one table of similarities that everything else reads: pictures against the subject's references."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch

from ..ages import classes_apart
from ..faces.observation import Observation


@dataclass(frozen=True)
class Comparisons:
    """Cosine similarities of ``pictures`` to ``references``: mated or non-mated, as the pictures' person is."""

    pictures: tuple[Observation, ...]
    references: tuple[Observation, ...]
    matrix: np.ndarray  # float64 [P, R], in [-1, 1]; nan where there is no such comparison, as without a face

    @cached_property
    def per_picture(self) -> list[np.ndarray]:
        """What there is, an array for each picture that has any."""
        rows = [row[~np.isnan(row)] for row in self.matrix]
        return [row for row in rows if row.size]

    @cached_property
    def similarities(self) -> np.ndarray:
        """All of them, [N]."""
        return self.matrix[~np.isnan(self.matrix)]

    @property
    def failures_to_detect(self) -> int:
        """Pictures in which no face was found."""
        return len(self.pictures) - len(with_face(self.pictures))

    @property
    def means(self) -> list[float | None]:
        """The mean similarity of each picture; None where it has none."""
        return [None if np.isnan(row).all() else float(np.nanmean(row)) for row in self.matrix]

    def best(self, number: int) -> tuple[float, Observation] | None:
        """The reference that picture ``number`` is most alike, and how much; None where it has no similarity."""
        row = self.matrix[number]
        return None if np.isnan(row).all() else (float(np.nanmax(row)), self.references[int(np.nanargmax(row))])

    def of(self, numbers: Sequence[int] | np.ndarray) -> "Comparisons":
        """Those of some pictures only."""
        return Comparisons(tuple(self.pictures[number] for number in numbers), self.references, self.matrix[numbers])

    def where(self, kept: np.ndarray) -> "Comparisons":
        """Only the comparisons where ``kept``, bool [P, R], is true."""
        return replace(self, matrix=np.where(kept, self.matrix, np.nan))

    def nearest_in_age(self) -> "Comparisons":
        """Each picture with the references whose age class is nearest to its own; with all where no age is known."""
        kept = np.ones(self.matrix.shape, dtype=bool)
        for row, picture in zip(kept, self.pictures, strict=True):
            apart = np.array([_classes_apart(picture, reference) for reference in self.references])
            row[:] = np.isnan(apart).all() or apart == np.nanmin(apart)
        return self.where(kept)

    def each_pair_once(self) -> "Comparisons":
        """Of references among themselves: as samples of a rate, the two ways round are one."""
        return self.where(np.triu(np.ones(self.matrix.shape, dtype=bool)))


def against(pictures: Sequence[Observation], references: Sequence[Observation]) -> Comparisons:
    """Every picture with a face against every reference with one."""
    matrix = np.full((len(pictures), len(references)), np.nan)
    rows, columns = ([one.vector is not None for one in side] for side in (pictures, references))
    if any(rows) and any(columns):
        matrix[np.ix_(rows, columns)] = _unit(pictures) @ _unit(references).T
    return Comparisons(tuple(pictures), tuple(references), matrix)


def among(references: Sequence[Observation]) -> Comparisons:
    """Every reference against the others (leave one out): how alike real photos of the subject are."""
    compared = against(references, references)
    return replace(compared, matrix=np.where(np.eye(len(references), dtype=bool), np.nan, compared.matrix))


def with_face(pictures: Sequence[Observation]) -> list[Observation]:
    """Those in which a face was found."""
    return [picture for picture in pictures if picture.vector is not None]


def _classes_apart(one: Observation, other: Observation) -> float:
    """nan where an age or a face is unknown."""
    if one.age is None or other.age is None or other.vector is None:
        return np.nan
    return classes_apart(one.age, other.age)


def _unit(pictures: Sequence[Observation]) -> np.ndarray:
    """Unit vectors [N, D], float64, of the faces that were found."""
    vectors = torch.stack([picture.vector for picture in pictures if picture.vector is not None])
    return torch.nn.functional.normalize(vectors.double()).numpy()

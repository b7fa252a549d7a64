"""Mated and non-mated comparisons: similarities of pictures to the subject's references, counted."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from .observation import Observation


@dataclass(frozen=True)
class Comparisons:
    """Cosine similarities in [-1, 1], an array [R] for each picture with a face, and the pictures without one."""

    per_picture: tuple[np.ndarray, ...]
    pictures: int
    failures_to_detect: int

    @property
    def similarities(self) -> np.ndarray:
        """All of them, [N]."""
        return np.concatenate(self.per_picture) if self.per_picture else np.zeros(0)


def against(pictures: Sequence[Observation], references: Sequence[Observation]) -> Comparisons:
    """Every picture with a face against every reference with one: mated or non-mated, as the pictures' person is."""
    found, known = with_face(pictures), with_face(references)
    rows = tuple(cosines(found, known)) if found and known else ()
    return Comparisons(rows, len(pictures), len(pictures) - len(found))


def leave_one_out(references: Sequence[Observation]) -> Comparisons:
    """Every pair of references once: how alike real photos of the subject are. Mated."""
    known = with_face(references)
    similarity = cosines(known, known) if known else ()
    rows = tuple(row[number + 1 :] for number, row in enumerate(similarity))
    return Comparisons(rows, len(references), len(references) - len(known))


def with_face(pictures: Sequence[Observation]) -> list[Observation]:
    """Those in which a face was found."""
    return [picture for picture in pictures if picture.vector is not None]


def cosines(rows: Sequence[Observation], columns: Sequence[Observation]) -> np.ndarray:
    """[R, C], of the faces of ``rows`` with those of ``columns``; every one of them must have a face."""
    left, right = (
        torch.nn.functional.normalize(torch.stack([picture.vector for picture in side]).double())
        for side in (rows, columns)
    )
    return (left @ right.T).numpy()

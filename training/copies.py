"""Copy-paste check: is a drawn picture the person, or one of the training photos again?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .comparisons import cosines, with_face
from .observation import Observation


@dataclass(frozen=True)
class Copy:
    """The training photos nearest to one picture, by embedding (cosine) and by pixels (correlation), in [-1, 1]."""

    image: str
    nearest_by_embedding: str
    embedding: float
    nearest_by_pixels: str
    pixels: float
    memorised: bool | None  # None where the photos give no mark to hold it against


@dataclass(frozen=True)
class Copies:
    """Every picture with a face, and as the mark the two training photos that are nearest to each other.

    A picture is flagged as memorised where it is nearer to some photo than any two photos are to each other, in
    embedding and in pixels alike. A fresh photo of the person, taken like the others, would be flagged with a
    probability of at most ``chance`` = 2 / (photos + 1), since by exchangeability it is no likelier than the others to
    be in the nearest pair. Photos of one burst put the mark too high: leave them out.
    """

    pictures: list[Copy]
    photos: int
    nearest_pair_embedding: float | None
    nearest_pair_pixels: float | None

    @property
    def chance(self) -> float | None:
        """How often, at most, a fresh photo would be flagged."""
        return 2 / (self.photos + 1) if self.photos > 1 else None

    @property
    def memorised(self) -> list[str]:
        """Names of the flagged pictures."""
        return [picture.image for picture in self.pictures if picture.memorised]


def find_copies(pictures: Sequence[Observation], photos: Sequence[Observation]) -> Copies:
    """Holds every picture against every training photo; pictures and photos without a face are left out."""
    drawn, known = with_face(pictures), with_face(photos)
    if not known:
        return Copies([], 0, None, None)
    marks = (None, None)
    if len(known) > 1:
        pairs = np.triu_indices(len(known), 1)
        marks = tuple(float(nearness(known, known)[pairs].max()) for nearness in (cosines, _by_pixels))
    if not drawn:
        return Copies([], len(known), *marks)
    by_embedding, by_pixels = cosines(drawn, known), _by_pixels(drawn, known)
    rows = []
    for number, picture in enumerate(drawn):
        embedding, pixels = by_embedding[number], by_pixels[number]
        memorised = None if marks[0] is None else bool(embedding.max() > marks[0] and pixels.max() > marks[1])
        rows.append(
            Copy(
                picture.name,
                known[int(embedding.argmax())].name,
                float(embedding.max()),
                known[int(pixels.argmax())].name,
                float(pixels.max()),
                memorised,
            )
        )
    return Copies(rows, len(known), *marks)


def _by_pixels(rows: list[Observation], columns: list[Observation]) -> np.ndarray:
    """Zero-normalised cross-correlation, the larger of that with the photo and that with its mirror image."""
    faces = [picture.aligned for picture in rows]
    photos = [picture.aligned for picture in columns]
    return np.maximum(
        _correlation(faces, photos),
        _correlation(faces, [photo.flip(-1) for photo in photos]),  # as random_flip trains them
    )


def _correlation(rows: list[Tensor], columns: list[Tensor]) -> np.ndarray:
    sides = [torch.stack(side).double().flatten(1) for side in (rows, columns)]
    left, right = (torch.nn.functional.normalize(side - side.mean(1, keepdim=True)) for side in sides)
    return (left @ right.T).numpy()

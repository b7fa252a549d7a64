"""Copy-paste check: is a drawn picture the person, or one of the training photos again?"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..faces.observation import Observation
from ..pictures.repeats import correlation, repeated
from .comparisons import Comparisons, with_face


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
    be in the nearest pair. A photo that is there twice would put the mark at 1, so each counts once (see distinct);
    photos of one burst put it too high: leave them out.
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


def distinct(photos: Sequence[Observation]) -> tuple[list[Observation], list[str]]:
    """The photos without those that repeat an earlier one, and a sentence on each that is left out.

    One of unknown age has that of its repetitions.
    """
    again = _again(photos)
    places = list(enumerate(photos))
    ages = {again.get(place, place): photo.age for place, photo in reversed(places) if photo.age is not None}
    kept = [
        replace(photo, age=ages.get(place)) if photo.age is None else photo
        for place, photo in places
        if place not in again
    ]
    return kept, [
        f"{photos[place].name} repeats {photos[earlier].name}; the two count once." for place, earlier in again.items()
    ]


def unseen(held_out: Sequence[Observation], photos: Sequence[Observation]) -> tuple[list[Observation], list[str]]:
    """The held-out photos without those that repeat one of ``photos`` or an earlier one, and a sentence on each."""
    every, first = [*photos, *held_out], len(photos)
    again = {place: earlier for place, earlier in _again(every).items() if place >= first}
    kept = [photo for place, photo in enumerate(held_out, first) if place not in again]
    return kept, [
        f"Of the held-out photos {every[place].name} is left out: it repeats {every[earlier].name}."
        for place, earlier in again.items()
    ]


def _again(photos: Sequence[Observation]) -> dict[int, int]:
    """The place of every photo that repeats an earlier one, as a whole picture or an aligned face, and that one's."""
    again: dict[int, int] = {}
    for part in ("signature", "aligned"):
        known = [place for place, photo in enumerate(photos) if getattr(photo, part) is not None]
        found = repeated([getattr(photos[place], part) for place in known])
        again |= {known[place]: known[earlier] for place, earlier in found.items()}
    return again


def find_copies(images: Comparisons, photos: Comparisons) -> Copies:
    """Holds every picture of ``images`` against the training photos, which ``photos`` compares among themselves.

    Pictures and photos without a face are left out. The photos must be distinct.
    """
    drawn, known = ([one.vector is not None for one in side] for side in (images.pictures, images.references))
    faces, references = with_face(images.pictures), with_face(images.references)
    if not references:
        return Copies([], 0, None, None)
    marks: tuple[float | None, float | None] = (None, None)
    if len(references) > 1:
        pairs = np.triu_indices(len(references), 1)
        marks = float(np.nanmax(photos.matrix)), float(_by_pixels(references, references)[pairs].max())
    if not faces:
        return Copies([], len(references), *marks)
    by_embedding, by_pixels = images.matrix[np.ix_(drawn, known)], _by_pixels(faces, references)
    rows = []
    for face, embedding, pixels in zip(faces, by_embedding, by_pixels, strict=True):
        nearest, alike = int(embedding.argmax()), int(pixels.argmax())
        memorised = None
        if marks[0] is not None and marks[1] is not None:
            memorised = bool(embedding[nearest] > marks[0] and pixels[alike] > marks[1])
        rows.append(
            Copy(
                face.name,
                references[nearest].name,
                float(embedding[nearest]),
                references[alike].name,
                float(pixels[alike]),
                memorised,
            )
        )
    return Copies(rows, len(references), *marks)


def _by_pixels(rows: list[Observation], columns: list[Observation]) -> np.ndarray:
    """How alike the aligned faces are, or the mirrored ones, as random_flip trains them."""
    faces, photos = ([one.aligned for one in side if one.aligned is not None] for side in (rows, columns))
    return correlation(faces, photos)

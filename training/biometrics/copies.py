"""Copy check: finds generated images that copy a training photo."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..faces.observation import Observation
from ..pictures.repeats import correlation, repeated
from .comparisons import Comparisons, with_face


@dataclass(frozen=True)
class Copy:
    """The training photos nearest to one image, by embedding (cosine) and by pixels (correlation), in [-1, 1]."""

    image: str
    nearest_by_embedding: str
    embedding: float
    nearest_by_pixels: str
    pixels: float
    memorised: bool | None  # None with fewer than two photos, which give no threshold


@dataclass(frozen=True)
class Copies:
    """The nearest training photos of every image with a face, and the thresholds for copies.

    The thresholds are the similarity and the pixel correlation of the two training photos that are nearest to each
    other. An image is flagged as memorised if it exceeds both. A new photo of the subject, taken like the others, is
    flagged with a probability of at most ``chance`` = 2 / (photos + 1): by exchangeability, it is no more likely than
    the others to be in the nearest pair. Repeated photos would raise the thresholds to 1, so each photo counts once
    (see distinct). Photos from one burst also raise the thresholds too far: leave them out.
    """

    pictures: list[Copy]
    photos: int
    nearest_pair_embedding: float | None
    nearest_pair_pixels: float | None

    @property
    def chance(self) -> float | None:
        """Upper bound on the probability that a new photo is flagged; None with fewer than two photos."""
        return 2 / (self.photos + 1) if self.photos > 1 else None

    @property
    def memorised(self) -> list[str]:
        """Names of the flagged images."""
        return [picture.image for picture in self.pictures if picture.memorised]


def distinct(photos: Sequence[Observation]) -> tuple[list[Observation], list[str]]:
    """Returns the photos without repeats of earlier ones, and one sentence per repeat.

    A photo of unknown age takes the age of its repeat.
    """
    repeats = _repeats(photos)
    numbered = list(enumerate(photos))
    ages = {repeats.get(index, index): photo.age for index, photo in reversed(numbered) if photo.age is not None}
    kept = [
        replace(photo, age=ages.get(index)) if photo.age is None else photo
        for index, photo in numbered
        if index not in repeats
    ]
    return kept, [
        f"{photos[index].name} repeats {photos[earlier].name}; they count as one photo."
        for index, earlier in repeats.items()
    ]


def unseen(held_out: Sequence[Observation], photos: Sequence[Observation]) -> tuple[list[Observation], list[str]]:
    """Returns the held-out photos without repeats of ``photos`` or of each other, and one sentence per repeat."""
    all_photos, first = [*photos, *held_out], len(photos)
    repeats = {index: earlier for index, earlier in _repeats(all_photos).items() if index >= first}
    kept = [photo for index, photo in enumerate(held_out, first) if index not in repeats]
    return kept, [
        f"Held-out photo {all_photos[index].name} is left out because it repeats {all_photos[earlier].name}."
        for index, earlier in repeats.items()
    ]


def _repeats(photos: Sequence[Observation]) -> dict[int, int]:
    """Maps the index of each repeated photo to the earlier one. Compares whole images and aligned faces."""
    repeats: dict[int, int] = {}
    for part in ("signature", "aligned"):
        indices = [index for index, photo in enumerate(photos) if getattr(photo, part) is not None]
        pairs = repeated([getattr(photos[index], part) for index in indices])
        repeats |= {indices[later]: indices[earlier] for later, earlier in pairs.items()}
    return repeats


def find_copies(images: Comparisons, photos: Comparisons) -> Copies:
    """Checks the images in ``images`` against the training photos. ``photos`` compares these with each other.

    Images and photos without a face are left out. The photos must be distinct.
    """
    rows_with_face, columns_with_face = (
        [item.vector is not None for item in side] for side in (images.pictures, images.references)
    )
    faces, references = with_face(images.pictures), with_face(images.references)
    if not references:
        return Copies([], 0, None, None)
    thresholds: tuple[float | None, float | None] = (None, None)
    if len(references) > 1:
        pairs = np.triu_indices(len(references), 1)
        thresholds = float(np.nanmax(photos.matrix)), float(_by_pixels(references, references)[pairs].max())
    if not faces:
        return Copies([], len(references), *thresholds)
    by_embedding = images.matrix[np.ix_(rows_with_face, columns_with_face)]
    by_pixels = _by_pixels(faces, references)
    rows = []
    for face, embedding, pixels in zip(faces, by_embedding, by_pixels, strict=True):
        nearest, nearest_pixels = int(embedding.argmax()), int(pixels.argmax())
        memorised = None
        if thresholds[0] is not None and thresholds[1] is not None:
            memorised = bool(embedding[nearest] > thresholds[0] and pixels[nearest_pixels] > thresholds[1])
        rows.append(
            Copy(
                face.name,
                references[nearest].name,
                float(embedding[nearest]),
                references[nearest_pixels].name,
                float(pixels[nearest_pixels]),
                memorised,
            )
        )
    return Copies(rows, len(references), *thresholds)


def _by_pixels(rows: list[Observation], columns: list[Observation]) -> np.ndarray:
    """Returns the correlation of the aligned faces [rows, columns].

    Mirrored faces count too, because random_flip mirrors photos in training.
    """
    faces, photos = ([item.aligned for item in side if item.aligned is not None] for side in (rows, columns))
    return correlation(faces, photos)

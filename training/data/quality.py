"""Warnings about the quality of the subject's photos."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from ..faces.find import Face, cut_square, square_side
from ..pictures.photos import Photo, abridged
from ..pictures.repeats import copies, repeated, signature

FEW = 3  # photos; fewer do not show enough of a person
ENLARGED = 2  # the largest enlargement without a warning; beyond it, the model learns the blur
EVALUATED_SIDE = 256  # px; size at which sharpness is measured
# Grey levels squared; photos below it count as blurred (variance of the Laplacian, Pech-Pacheco et al. 2000). Sharp
# photos of faces have 130 or more; after a Gaussian blur of 1 % of the side, 3 to 8 are left.
BLURRED = 10.0


@dataclass(frozen=True)
class PhotoQuality:
    """Measurements that show whether a photo is suitable for training."""

    name: str
    side: float  # of the square crop used for training, in px of the photo
    sharpness: float  # grey levels squared
    signature: Tensor

    @classmethod
    def of(cls, name: str, image: Image.Image, face: Face | None, margin: float | None) -> "PhotoQuality":
        """Measures the square that cut_square crops from ``image``, without enlarging it."""
        side = square_side(image, face, margin)
        square, _ = cut_square(image, face, max(3, min(EVALUATED_SIDE, round(side))), margin)
        grey = np.asarray(square.convert("L"), dtype=np.float64)
        laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
        return cls(name, side, float(laplacian.var()), signature(image))


def quality_remarks(photos: Sequence[PhotoQuality], sides: Sequence[int]) -> list[str]:
    """Returns a sentence per photo that is small, blurred or a duplicate.

    ``sides`` are the shorter sides of the photos in training, in px.
    """
    remarks = []
    if len(photos) < FEW:
        remarks.append(f"Only {len(photos)} photo{'s' * (len(photos) > 1)}. Use 3-30 photos.")
    for photo, side in zip(photos, sides, strict=True):
        if photo.side * ENLARGED < side:
            remarks.append(f"{photo.name}: small. Training enlarges it from {photo.side:.0f} to {side} px.")
        elif photo.sharpness < BLURRED:
            remarks.append(f"{photo.name}: blurred, or low in contrast. A sharper photo works better.")
    for index, earlier in repeated([photo.signature for photo in photos]).items():
        remarks.append(f"{photos[index].name} repeats {photos[earlier].name}, so this image counts twice in training.")
    return remarks


def shared_remarks(photos: Sequence[Photo], others: Sequence[Photo], signatures: Sequence[Tensor]) -> list[str]:
    """Returns a warning that names the photos which are also in the regularization set ``others``; none without such.

    ``signatures`` are those of the photos, then of the others, see repeats.signature.
    """
    shared = copies(signatures[: len(photos)], signatures[len(photos) :])
    if not shared:
        return []
    pairs = [f"{photos[index].name} ({others[copy].name})" for index, copy in shared.items()]
    return [
        f"Warning: {len(shared)} of {len(photos)} photos are also in the regularization set: {abridged(pairs)}. The "
        "model learns this face as other people's too. Remove these images from the regularization set."
    ]

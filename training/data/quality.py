"""What is worth saying about the subject's photos before they are trained on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor

from ..faces.find import Face, cut_square, square_side
from ..pictures.repeats import repeated, signature

FEW = 3  # photos; fewer show too little of a person
ENLARGED = 2  # times; a photo that is trained larger than that teaches its blur
LOOKED_AT = 256  # px
# Grey levels squared: below it a photo is blurred (variance of the Laplacian, Pech-Pacheco et al. 2000). Sharp photos
# of faces have 130 and more, and a Gaussian blur of a hundredth of the side leaves 3 to 8.
BLURRED = 10.0


@dataclass(frozen=True)
class PhotoQuality:
    """What decides whether a photo is a good one to train on."""

    name: str
    side: float  # of the square that is trained on, px of the photo
    sharpness: float  # grey levels squared
    signature: Tensor

    @classmethod
    def of(cls, name: str, image: Image.Image, face: Face | None, margin: float | None) -> "PhotoQuality":
        """Of the square that cut_square cuts out of ``image``, looked at without enlarging it."""
        side = square_side(image, face, margin)
        square, _ = cut_square(image, face, max(3, min(LOOKED_AT, round(side))), margin)
        grey = np.asarray(square.convert("L"), dtype=np.float64)
        laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
        return cls(name, side, float(laplacian.var()), signature(image))


def quality_remarks(photos: Sequence[PhotoQuality], sides: Sequence[int]) -> list[str]:
    """A sentence on every photo that is small for ``sides``, the shorter ones in training, blurred, or there twice."""
    remarks = []
    if len(photos) < FEW:
        remarks.append(f"Only {len(photos)} photo{'s' * (len(photos) > 1)}; 3-30 show more of what stays the same.")
    for photo, side in zip(photos, sides, strict=True):
        if photo.side * ENLARGED < side:
            remarks.append(f"{photo.name}: small; its {photo.side:.0f} px are enlarged to {side}.")
        elif photo.sharpness < BLURRED:
            remarks.append(f"{photo.name}: blurred, or flat; a sharper one teaches more.")
    for place, earlier in repeated([photo.signature for photo in photos]).items():
        remarks.append(f"{photos[place].name} repeats {photos[earlier].name}, which so counts twice in training.")
    return remarks

"""Where the person is in a photo: a mask file beside it, its own transparency, or a region around its face."""

from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import UserError
from .photos import MASK_ENDINGS, Photo
from .reading import UnreadablePictures, read_as_stored


def mask_beside(photo: Path) -> Path | None:
    """The file that masks ``photo``: name-mask.png beside it."""
    files = (photo.with_name(f"{photo.stem}{ending}.png") for ending in MASK_ENDINGS)
    return next((file for file in files if file.is_file()), None)


def mask_of(photo: Photo) -> Image.Image | None:
    """Grey, as large as ``photo``: 255 where the person is. None where nothing says it, or all of it is the person.

    It comes from the photo's mask, its transparency if it has any, else how light it is; without one from the
    transparency of the photo's own file. Raises UserError for a mask that cannot be read, is of another size or black.
    """
    if photo.mask is None:
        mask = _transparency(read_as_stored(photo.source)) if isinstance(photo.source, Path) else None
    else:
        stored = _mask(photo.mask)
        mask = _transparency(stored) or stored.convert("L")
    if mask is None:
        return None
    image = photo.image()
    if mask.size != image.size:
        raise UserError(
            f"{photo.name} is {image.width} x {image.height} px and its mask {mask.width} x {mask.height} px. Make the "
            "mask as large as the photo."
        )
    darkest, lightest = mask.getextrema()
    if lightest == 0:
        raise UserError(f"The mask of {photo.name} is all black. White is the person, black is what lies around.")
    return None if darkest == 255 else mask


def face_mask(
    box: tuple[float, float, float, float], size: tuple[int, int], width: float = 0.85, height: float = 1.1
) -> Image.Image:
    """A soft ellipse around the face in ``box`` (px) and its hair, in a picture of ``size``.

    Its half axes are ``width`` and ``height`` of the face's longer side; it fades out over the next half of that side.
    """
    left, top, right, bottom = box
    side = max(right - left, bottom - top)
    x = (np.arange(size[0]) + 0.5 - (left + right) / 2) / side
    y = (np.arange(size[1]) + 0.5 - (top + bottom) / 2) / side + 0.15  # hair is above
    radius = np.hypot(x[None] / width, y[:, None] / height)
    return Image.fromarray((255 * np.clip((1.5 - radius) / 0.5, 0, 1)).round().astype(np.uint8))


def _transparency(image: Image.Image) -> Image.Image | None:
    """The alpha channel; None where everything is opaque."""
    if not image.has_transparency_data:
        return None
    alpha = image.convert("RGBA").getchannel("A")
    return None if alpha.getextrema()[0] == 255 else alpha


def _mask(source: Path | Image.Image) -> Image.Image:
    if isinstance(source, Image.Image):
        return source
    try:
        return read_as_stored(source)
    except UnreadablePictures as error:
        cause = error.causes[0][1]
        raise UserError(f"{source} cannot be read as a mask ({cause}). Replace it or take it away.") from error

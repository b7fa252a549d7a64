"""Masks of the person in a photo: from a mask file, from transparency, or a region around the face."""

from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import DamagedFile, InvalidData
from .photos import MASK_ENDINGS, Photo
from .reading import UnreadablePictures, read_as_stored

WHITE = 0.5  # of the largest brightness; a mask whose brightest part is darker is not white anywhere


def mask_beside(photo: Path) -> Path | None:
    """Returns the mask file next to ``photo``, such as name-mask.png, or None."""
    files = (photo.with_name(f"{photo.stem}{ending}.png") for ending in MASK_ENDINGS)
    return next((file for file in files if file.is_file()), None)


def mask_of(photo: Photo) -> Image.Image | None:
    """Returns a grey image of the size of ``photo`` that is 255 on the person; None without a mask or if it is all 255.

    Uses the transparency of the photo's mask, or its brightness if it is opaque (see _brightness). Without a mask, uses
    the transparency of the photo's own file. Raises UserError if the mask cannot be read, differs in size from the
    photo, or has no white.
    """
    if photo.mask is None:
        mask = _transparency(read_as_stored(photo.source)) if isinstance(photo.source, Path) else None
    else:
        stored = _read_mask(photo.mask)
        mask = _transparency(stored) or _brightness(stored, photo.name)
    if mask is None:
        return None
    image = photo.image()
    if mask.size != image.size:
        raise InvalidData(
            f"{photo.name} is {image.width} x {image.height} px, but its mask is {mask.width} x {mask.height} px. Give "
            "the mask the size of the photo."
        )
    darkest, lightest = mask.getextrema()
    if lightest == 0:
        raise InvalidData(f"The mask of {photo.name} is all black. Paint the person white and the background black.")
    return None if darkest == 255 else mask


def face_mask(
    box: tuple[float, float, float, float], size: tuple[int, int], width: float = 0.85, height: float = 1.1
) -> Image.Image:
    """Returns a grey image of ``size`` with a soft ellipse around the face in ``box`` (px) and its hair.

    The half axes are ``width`` and ``height`` times the longer side of the box; the edge fades out over half that side.
    """
    left, top, right, bottom = box
    side = max(right - left, bottom - top)
    x = (np.arange(size[0]) + 0.5 - (left + right) / 2) / side
    y = (np.arange(size[1]) + 0.5 - (top + bottom) / 2) / side + 0.15  # shifted up, to include the hair
    radius = np.hypot(x[None] / width, y[:, None] / height)
    return Image.fromarray((255 * np.clip((1.5 - radius) / 0.5, 0, 1)).round().astype(np.uint8))


def _transparency(image: Image.Image) -> Image.Image | None:
    """Returns the alpha channel, or None if the whole image is opaque."""
    if not image.has_transparency_data:
        return None
    alpha = image.convert("RGBA").getchannel("A")
    return None if alpha.getextrema()[0] == 255 else alpha


def _brightness(image: Image.Image, name: str) -> Image.Image:
    """Returns a mask in 8-bit grey. If it has a single value beside black, as label maps do, that value becomes 255.

    Raises UserError, which calls the photo ``name``, if the mask has several values but no white, or several colours.
    """
    levels = np.asarray(image) if image.mode == "F" else np.asarray(image.convert("L"), dtype=np.float32) / 255
    brightest = levels.max()
    if ((levels == 0) | (levels == brightest)).all():
        return Image.fromarray(np.where(levels > 0, 255, 0).astype(np.uint8))
    labels = _palette_colours(image)
    if brightest < WHITE or labels > 2:
        found = f"{labels} colours" if labels > 2 else f"several greys up to {255 * brightest:.3g} of 255"
        raise InvalidData(f"The mask of {name} has {found}. Paint the person white and the background black.")
    return Image.fromarray((255 * levels).round().astype(np.uint8))


def _palette_colours(image: Image.Image) -> int:
    """Returns the number of colours that an image with a palette shows; 0 if it has no palette or only greys."""
    if image.mode != "P":
        return 0
    colours = np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)
    return len(colours) if (colours != colours[:, :1]).any() else 0


def _read_mask(source: Path | Image.Image) -> Image.Image:
    if isinstance(source, Image.Image):
        return source
    try:
        return read_as_stored(source)
    except UnreadablePictures as error:
        cause = error.causes[0][1]
        raise DamagedFile(f"{source} cannot be read as a mask ({cause}). Replace or remove it.") from error

"""Image files of every common kind to upright 8-bit RGB."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..errors import UserError
from ..files import written

MASK_ENDINGS = ("-mask", "_mask")  # of the name of a photo's mask, behind the photo's own
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True)
class Photo:
    """A picture with a name: a file that is read when it is needed, or an image in memory; and what is said of it."""

    name: str
    source: Path | Image.Image
    age: str | int | None = None  # an age class, or years; None: unknown
    caption: str | None = None
    mask: Path | Image.Image | None = None  # see masks.mask_of

    def image(self) -> Image.Image:
        """The picture as upright 8-bit RGB."""
        return open_rgb(self.source) if isinstance(self.source, Path) else self.source

    def content(self) -> bytes:
        """What tells this picture from another: the file's bytes, or the pixels."""
        return self.source.read_bytes() if isinstance(self.source, Path) else self.source.tobytes()


def open_rgb(path: Path) -> Image.Image:
    """An image file as 8-bit RGB, turned as its EXIF says; transparency becomes white.

    Raises UserError where the file is no image or is damaged.
    """
    try:
        with Image.open(path) as file:
            image = ImageOps.exif_transpose(file)
            if image.mode.startswith("I"):  # 16-bit grey; convert() would clip it at 255
                image = Image.fromarray((np.asarray(image).astype(np.float32) / 257).round().astype(np.uint8))
            if image.has_transparency_data:
                image = image.convert("RGBA")
                white = Image.new("RGBA", image.size, "white")
                image = Image.alpha_composite(white, image)
            return image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UserError(
            f"{path} cannot be read as an image ({error}). Replace it or take it out of the folder."
        ) from error


def image_files(folder: Path) -> Iterator[Path]:
    """The jpg, png and webp files of ``folder`` and its sub-folders, sorted by path, but hidden ones and masks."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in SUFFIXES and path.is_file() and not hidden and not path.stem.endswith(MASK_ENDINGS):
            yield path


def read_folder(folder: Path, what: str) -> list[Photo]:
    """Every image of a folder, or of one file. Raises UserError where there is none; ``what`` says what was wanted."""
    if folder.is_file():
        return [Photo(folder.name, folder)]
    if not folder.is_dir():
        raise UserError(
            f"There is no folder {folder} for {what}. Give the path of a folder with jpg, png or webp files."
        )
    photos = [Photo(str(path.relative_to(folder)), path) for path in image_files(folder)]
    if not photos:
        raise UserError(f"The folder {folder} holds no jpg, png or webp file, so there are no {what}.")
    return photos


def to_tensor(image: Image.Image) -> Tensor:
    """[1, 3, H, W] float32 in [-1, 1]."""
    pixels = torch.from_numpy(np.array(image, dtype=np.float32))
    return (pixels / 127.5 - 1).permute(2, 0, 1).unsqueeze(0)


def save(picture: Image.Image, path: Path) -> None:
    """Writes ``picture`` to ``path``, whole or not at all; the suffix chooses the format."""
    with written(path) as temporary:
        picture.save(temporary)


def to_image(pixels: Tensor) -> Image.Image:
    """The inverse of to_tensor for [3, H, W]; values beyond [-1, 1] are clipped."""
    scaled = ((pixels.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(scaled.permute(1, 2, 0).numpy())

"""Reads an image file as upright 8-bit sRGB. Tolerates the same defects as ComfyUI's loader, and reports them."""

import contextlib
import io
import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from itertools import takewhile
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, TiffImagePlugin, UnidentifiedImageError

from ..errors import DamagedFile

# What cameras, phones and editors write. Pillow's other readers are not used: one of them runs a program.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "TGA", "PSD", "QOI")
MOST_PIXELS = 2**28  # 1 GB in memory, and more than any camera has; larger files may be decompression bombs
MANY_PIXELS = 100_000_000
WHITES = (255, 2**16 - 1, 2**32 - 1)  # the largest values of 8, 16 and 32 bits
OVERSHOOT = 1.1  # floats may exceed white by this factor, because sharpening and resizing overshoot
MOST_MISSING = 0.1  # the largest fraction of rows that a damaged file may lack

TURNS = {  # EXIF 2.32, tag 0x0112: how to turn a stored image upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Per colour space of an ICC profile: the mode that lcms reads, and the modes that convert to it without loss.
SPACES = {
    "RGB": ("RGB", {"RGB", "RGBA", "RGBX", "P", "PA", "L", "LA", "1"}),
    "GRAY": ("L", {"L", "LA", "1"}),
    "CMYK": ("CMYK", {"CMYK"}),
}
# What Pillow's readers raise, depending on where the bytes are damaged.
_UNREADABLE = (OSError, SyntaxError, ValueError, LookupError, TypeError, OverflowError, EOFError, struct.error)


@dataclass(frozen=True)
class Reading:
    """An image as 8-bit RGB, and the defects of its file, worded to follow the file name and a colon."""

    image: Image.Image
    oddities: tuple[str, ...] = ()


class UnreadablePictures(DamagedFile):
    """Files that are not images or are damaged, each with the cause."""

    def __init__(self, causes: Sequence[tuple[Path, str]]):
        self.causes = causes
        if len(causes) == 1:
            path, cause = causes[0]
            super().__init__(f"{path} cannot be read as an image ({cause}). Replace it or remove it from the folder.")
        else:
            named = ", ".join(f"{path} ({cause})" for path, cause in causes)
            super().__init__(
                f"{len(causes)} files cannot be read as images: {named}. Replace them or remove them from the folder."
            )


@cache
def readers() -> tuple[str, ...]:
    """Returns those of FORMATS that Pillow can read here; HEIF needs pillow-heif. MPO is read as JPEG."""
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.init()
    return tuple(kind for kind in FORMATS if kind in Image.OPEN)


@cache
def suffixes() -> frozenset[str]:
    """Returns the suffixes of readable files, in lower case."""
    readable = (*readers(), "MPO")
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in readable)


def read_picture(path: Path) -> Reading:
    """Reads an image file as upright 8-bit sRGB; transparency becomes white.

    Raises UnreadablePictures if the file is not an image or is damaged beyond use.
    """
    oddities: list[str] = []
    with _unreadable_with_cause(path):
        image = _decoded_or_salvaged(path, oddities)
        if image.width * image.height > MANY_PIXELS:
            oddities.append(f"{image.width * image.height / 1e6:.0f} megapixels; a smaller copy loads faster")
        return Reading(_srgb(image, oddities), tuple(oddities))


def read_as_stored(path: Path) -> Image.Image:
    """Reads an image file upright, in its own mode, with its transparency. Raises UnreadablePictures.

    Grey of more than 8 bits becomes mode F, with 1 for white.
    """
    with _unreadable_with_cause(path):
        return _decoded_or_salvaged(path, [])


def taken_on(path: Path) -> date | None:
    """Returns the day on which a photo was taken, from its EXIF tag DateTimeOriginal, or None if it has no such date.

    The tag of the last change is not used: it may be years later. A file that cannot be read has no date here;
    read_picture raises for it.
    """
    try:
        with _pillows_limits(incomplete=True), Image.open(path, formats=readers()) as image:
            text = str(image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.DateTimeOriginal, ""))
        return datetime.strptime(text[:10], "%Y:%m:%d").date()
    except _UNREADABLE:  # a ValueError for a missing or blank date
        return None


@contextlib.contextmanager
def _unreadable_with_cause(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except UnidentifiedImageError as error:
        raise UnreadablePictures([(path, "its format is not known")]) from error
    except _UNREADABLE as error:
        raise UnreadablePictures([(path, str(error))]) from error


def _decoded_or_salvaged(path: Path, oddities: list[str]) -> Image.Image:
    try:
        return _decoded(path, oddities)
    except _UNREADABLE as error:
        oddities[:] = [f"its file is damaged ({error}); the readable part is used"]
        return _salvaged(path, oddities)


@contextlib.contextmanager
def _pillows_limits(incomplete: bool) -> Generator[None, None, None]:
    """Replaces Pillow's pixel limit by MOST_PIXELS and allows ``incomplete`` files, both global settings in Pillow."""
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS = None
    ImageFile.LOAD_TRUNCATED_IMAGES = incomplete  # ty: ignore[invalid-assignment]
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _decoded(path: Path, oddities: list[str], incomplete: bool = False) -> Image.Image:
    """Returns the first frame as read_as_stored does. Reads no other metadata, because damaged ones would raise."""
    with _pillows_limits(incomplete), Image.open(path, formats=readers()) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} px is more than the limit of {MOST_PIXELS:,} pixels")
        image.load()
        try:
            turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
        except _UNREADABLE as error:
            oddities.append(f"its EXIF data cannot be read ({error}), so the image is not rotated")
            turn = None
        image = _with_white_at_one(image, oddities)
        return image if turn is None else image.transpose(turn)


def _with_white_at_one(image: Image.Image, oddities: list[str]) -> Image.Image:
    """Converts grey of more than 8 bits to mode F, with 1 for white; convert() would clip it at 255.

    TIFFs hold 8 or 16 bits in 32 too, and floats of any range, so their white is the smallest usual one that is not
    exceeded. Raises ValueError if a value is nan or infinite, or no white is large enough.
    """
    if image.mode != "F" and not image.mode.startswith("I"):
        return image
    levels = np.asarray(image).astype(np.float64)
    if not np.isfinite(levels).all():
        raise ValueError("some of its pixels are nan or infinite")
    white: float = 2**16 - 1
    if image.mode == "F":
        largest = levels.max()
        white = next((white for white in (1, *WHITES) if largest <= OVERSHOOT * white), 0)
        if white == 0:
            raise ValueError(f"its pixels have values up to {largest:g}, more than 32 bits")
        if white != 1:
            oddities.append(f"its values go up to {largest:g}, so {white} is read as white")
    elif isinstance(image, TiffImagePlugin.TiffImageFile) and image.mode == "I":
        signed = image.tag_v2.get(TiffImagePlugin.SAMPLEFORMAT, (1,))[0] == 2
        if not signed:
            levels %= 2**32  # Pillow reads unsigned values as signed
        full = 2 ** (image.tag_v2[TiffImagePlugin.BITSPERSAMPLE][0] - signed) - 1
        white = next((white for white in WHITES if levels.max() <= white < full), full)
        if white != full:
            oddities.append(f"its values go up to {levels.max():g}, so {white} is read as white")
    result = Image.fromarray((levels / white).clip(0, 1).astype(np.float32))
    result.info = image.info
    return result


def _salvaged(path: Path, oddities: list[str]) -> Image.Image:
    """Decodes a damaged file. Raises ValueError if too many rows are missing; decoders fill these with one colour."""
    image = _decoded(path, oddities, incomplete=True)
    pixels = np.asarray(_eight_bit(image).convert("RGB"))
    filled = [(pixels == corner).all((1, 2)) for corner in (pixels[-1, -1], pixels[0, 0])]
    missing = max(len(list(takewhile(bool, rows))) for rows in (filled[0][::-1], filled[1]))
    if missing > MOST_MISSING * image.height:
        raise ValueError(f"the file ends early: {missing} of {image.height} rows are missing")
    return image


def _eight_bit(image: Image.Image) -> Image.Image:
    """Converts mode F, with 1 for white, to 8-bit grey; returns any other image unchanged."""
    if image.mode != "F":
        return image
    grey = Image.fromarray((255 * np.asarray(image)).round().astype(np.uint8))
    grey.info = image.info
    return grey


def _srgb(image: Image.Image, oddities: list[str]) -> Image.Image:
    image = _eight_bit(image)
    unprofiled = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if (colours := _with_profile(image, oddities)) is None:
        colours = unprofiled if unprofiled.mode == "RGB" else unprofiled.convert("RGB")  # convert() always copies
    if unprofiled.mode == "RGB":
        return colours
    white = Image.new("RGB", image.size, "white")
    white.paste(colours, mask=unprofiled.getchannel("A"))
    return white


def _with_profile(image: Image.Image, oddities: list[str]) -> Image.Image | None:
    """Converts ``image`` from its ICC profile to sRGB. Returns None if it has no usable profile."""
    if not (profile := image.info.get("icc_profile")):
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode, modes = SPACES.get(source.profile.xcolor_space.strip(), ("", ()))
        if image.mode in modes:
            srgb = ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(image.convert(mode), source, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        pass
    oddities.append("its colour profile does not fit the image, so its colours are read as sRGB")
    return None

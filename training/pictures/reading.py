"""One picture file to upright 8-bit sRGB, as forgiving as ComfyUI's own loader, and what was odd about it."""

import contextlib
import io
import struct
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageCms, ImageFile, UnidentifiedImageError

from ..errors import UserError

# What cameras, phones and editors write. Pillow's other readers are left alone: one of them runs a program.
FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "HEIF", "GIF", "BMP", "TIFF", "JPEG2000", "PPM", "TGA", "PSD", "QOI")
MOST_PIXELS = 2**28  # 1 GB in memory, and more than any camera has; what is larger was made to fill a memory
MANY_PIXELS = 100_000_000
MOST_MISSING = 0.1  # of a picture's rows

TURNS = {  # EXIF 2.32, tag 0x0112: what makes a stored picture upright
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The colour space of an ICC profile: the mode that lcms reads, and the modes that stand for it without loss.
SPACES = {
    "RGB": ("RGB", {"RGB", "RGBA", "RGBX", "P", "PA", "L", "LA", "1"}),
    "GRAY": ("L", {"L", "LA", "1"}),
    "CMYK": ("CMYK", {"CMYK"}),
}
# What Pillow's readers raise, depending on where the bytes go wrong.
_UNREADABLE = (OSError, SyntaxError, ValueError, LookupError, TypeError, OverflowError, EOFError, struct.error)


@dataclass(frozen=True)
class Reading:
    """A picture as 8-bit RGB, and what was odd about its file, in words that follow its name and a colon."""

    image: Image.Image
    oddities: tuple[str, ...] = ()


class UnreadablePictures(UserError):
    """Files that are no pictures or are damaged, each with the cause."""

    def __init__(self, causes: Sequence[tuple[Path, str]]):
        self.causes = causes
        if len(causes) == 1:
            path, cause = causes[0]
            super().__init__(f"{path} cannot be read as an image ({cause}). Replace it or take it out of the folder.")
        else:
            named = ", ".join(f"{path} ({cause})" for path, cause in causes)
            super().__init__(
                f"{len(causes)} files cannot be read as images: {named}. Replace them or take them out of the folder."
            )


@cache
def readers() -> tuple[str, ...]:
    """Those of FORMATS that Pillow can read here; HEIF where pillow-heif is installed. MPO is read as JPEG."""
    with contextlib.suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    Image.init()
    return tuple(kind for kind in FORMATS if kind in Image.OPEN)


@cache
def suffixes() -> frozenset[str]:
    """The suffixes of the files that can be read, in lower case."""
    known = (*readers(), "MPO")
    return frozenset(suffix for suffix, kind in Image.registered_extensions().items() if kind in known)


def read_picture(path: Path) -> Reading:
    """An image file as upright 8-bit sRGB; transparency becomes white.

    Raises UnreadablePictures where the file is no image or is damaged.
    """
    oddities: list[str] = []
    with _cause_named(path):
        image = _as_far_as_it_goes(path, oddities)
        if image.width * image.height > MANY_PIXELS:
            oddities.append(f"{image.width * image.height / 1e6:.0f} megapixels; a smaller copy is read faster")
        return Reading(_srgb(image, oddities), tuple(oddities))


def read_as_stored(path: Path) -> Image.Image:
    """An image file upright, in the mode and with the transparency that it has. Raises as read_picture does."""
    with _cause_named(path):
        return _as_far_as_it_goes(path, [])


@contextlib.contextmanager
def _cause_named(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except UnidentifiedImageError as error:
        raise UnreadablePictures([(path, "it is of no known format")]) from error
    except _UNREADABLE as error:
        raise UnreadablePictures([(path, str(error))]) from error


def _as_far_as_it_goes(path: Path, oddities: list[str]) -> Image.Image:
    try:
        return _decoded(path, oddities)
    except _UNREADABLE as error:
        oddities[:] = [f"its file is damaged ({error}), and is used as far as it goes"]
        return _salvaged(path, oddities)


@contextlib.contextmanager
def _pillows_limits(incomplete: bool) -> Generator[None, None, None]:
    """Pillow knows them only as globals: its limit of pixels is lifted for ours, ``incomplete`` files are let by."""
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    Image.MAX_IMAGE_PIXELS = None
    ImageFile.LOAD_TRUNCATED_IMAGES = incomplete  # ty: ignore[invalid-assignment]
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES = before


def _decoded(path: Path, oddities: list[str], incomplete: bool = False) -> Image.Image:
    """The first frame, upright. Reads no metadata but the orientation, so that nothing else in it can be wrong."""
    with _pillows_limits(incomplete), Image.open(path, formats=readers()) as image:
        if image.width * image.height > MOST_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels, of which {MOST_PIXELS:,} are the most")
        image.load()
        try:
            turn = TURNS.get(image.getexif().get(ExifTags.Base.Orientation))
        except _UNREADABLE as error:
            oddities.append(f"its EXIF cannot be read ({error}), so it is not turned")
            turn = None
        return image if turn is None else image.transpose(turn)


def _salvaged(path: Path, oddities: list[str]) -> Image.Image:
    """A damaged file's picture. Raises ValueError where much is missing, which decoders fill with one colour."""
    image = _decoded(path, oddities, incomplete=True)
    pixels = np.asarray(image.convert("RGB"))
    filled = [(pixels == corner).all((1, 2)) for corner in (pixels[-1, -1], pixels[0, 0])]
    missing = max(len(list(takewhile(bool, rows))) for rows in (filled[0][::-1], filled[1]))
    if missing > MOST_MISSING * image.height:
        raise ValueError(f"it ends early: {missing} of {image.height} rows are missing")
    return image


def _srgb(image: Image.Image, oddities: list[str]) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; convert() would clip it at 255
        grey = Image.fromarray((np.asarray(image).astype(np.float32) / 257).round().astype(np.uint8))
        grey.info = image.info
        image = grey
    seen = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if (colours := _with_profile(image, oddities)) is None:
        colours = seen if seen.mode == "RGB" else seen.convert("RGB")  # Pillow's convert copies all the same
    if seen.mode == "RGB":
        return colours
    white = Image.new("RGB", image.size, "white")
    white.paste(colours, mask=seen.getchannel("A"))
    return white


def _with_profile(image: Image.Image, oddities: list[str]) -> Image.Image | None:
    """``image`` from the colours of its ICC profile to sRGB; None where it has none that can be used."""
    if not (profile := image.info.get("icc_profile")):
        return None
    try:
        known = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode, modes = SPACES.get(known.profile.xcolor_space.strip(), ("", ()))
        if image.mode in modes:
            srgb = ImageCms.createProfile("sRGB")
            return ImageCms.profileToProfile(image.convert(mode), known, srgb, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        pass
    oddities.append("its colour profile does not fit it, so its colours are taken as sRGB")
    return None

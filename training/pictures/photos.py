"""Named photos, from folders or memory, and conversion of images to tensors and back."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ..errors import InvalidData, MissingFile
from ..files import PROGRAM, written
from .reading import Reading, UnreadablePictures, read_picture, suffixes

MASK_ENDINGS = ("-mask", "_mask")  # a mask is named like its photo plus one of these
HEIF = (".heic", ".heif", ".hif")
NO_PHOTOS = {"mask", "masks", "masklabel", "thumb", "thumbs", "thumbnail", "thumbnails", "report", "reports"}
NAMED = 10  # the most file names in one message


@dataclass(frozen=True)
class Photo:
    """A named image, read from a file on demand or held in memory, with its age, caption and mask."""

    name: str
    source: Path | Image.Image
    age: str | int | None = None  # an age class or years; None if unknown
    caption: str | None = None
    mask: Path | Image.Image | None = None  # see masks.mask_of
    age_note: str = ""  # where the age is from or why there is none, for the report; "" if plain

    def read(self) -> Reading:
        """Reads the image as upright 8-bit sRGB, with notes on defects of its file. Raises UnreadablePictures."""
        return read_picture(self.source) if isinstance(self.source, Path) else Reading(self.source)

    def image(self) -> Image.Image:
        """Reads the image as upright 8-bit sRGB. Raises UnreadablePictures."""
        return self.read().image

    def content(self) -> bytes:
        """Returns bytes that identify the image: those of the file, or the pixels."""
        return self.source.read_bytes() if isinstance(self.source, Path) else self.source.tobytes()


Bar = Callable[[Sequence[Photo]], Iterable[Photo]]
"""A progress bar that wraps an iterable, such as tqdm. ``iter`` shows nothing."""


def image_files(folder: Path) -> Iterator[Path]:
    """Yields the paths of the photos in ``folder`` and its sub-folders, sorted."""
    return (path for path, reason in _files(folder) if reason is None)


def left_out(folder: Path) -> list[str]:
    """Returns a sentence that lists the skipped files of ``folder`` with the reasons; none if no file is skipped."""
    if not folder.is_dir():
        return []
    reasons: dict[str, list[str]] = {}
    for path, reason in _files(folder):
        if reason:
            reasons.setdefault(reason, []).append(str(path.relative_to(folder)))
    if not reasons:
        return []
    return [f"Skipped in {folder}: " + "; ".join(f"{abridged(names)} ({why})" for why, names in reasons.items()) + "."]


def _files(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Yields each file, sorted by path, and the reason why it is not a photo, or None.

    Sub-folders that are not searched count as files: links, which could lead in a circle, and unreadable ones. Omits
    hidden files, captions and the masks of photos.
    """
    unsearched: dict[Path, str] = {}
    paths = sorted({*_walk(folder, unsearched), *unsearched})
    stems = {path.with_suffix("") for path in paths if path.suffix.lower() in suffixes()}
    for path in paths:
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts):
            continue
        if why := unsearched.get(path) or _no_file(path):
            yield path, why
            continue
        if path.suffix.lower() == ".txt":
            continue
        masked = (path.with_name(path.stem.removesuffix(ending)) for ending in MASK_ENDINGS if path.suffix == ".png")
        if any(photo.name != path.stem and photo in stems for photo in masked):
            continue
        not_photo_words = NO_PHOTOS.intersection(re.findall("[a-z]+", " ".join(parts).lower()))
        if path.suffix.lower() not in suffixes():
            heic = path.suffix.lower() in HEIF
            yield path, "HEIC needs the package pillow-heif: pip install pillow-heif" if heic else "not an image"
        else:
            yield path, f"its name contains '{min(not_photo_words)}'" if not_photo_words else None


def _walk(folder: Path, unsearched: dict[Path, str]) -> Iterator[Path]:
    """Yields the files in ``folder`` and its sub-folders; adds those it does not search to ``unsearched``."""

    def unreadable(error: OSError) -> None:
        unsearched[Path(error.filename)] = f"its files cannot be listed: {error.strerror}"

    for parent, folders, files in os.walk(folder, onerror=unreadable):
        unsearched |= {path: "a link to a folder" for name in folders if (path := Path(parent, name)).is_symlink()}
        yield from (Path(parent, name) for name in files)


def _no_file(path: Path) -> str | None:
    """Returns why ``path`` cannot be read as a file, or None if it can."""
    if path.is_file():
        return None
    return "a link that leads nowhere" if path.is_symlink() else "neither a file nor a folder"


def abridged(names: Sequence[str]) -> str:
    """Returns the names, comma-separated; after the first NAMED, only how many more there are."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def read_folder(folder: Path, what: str) -> list[Photo]:
    """Returns the photos in a folder, or the one in a file.

    Raises UserError, which calls the photos ``what``, if there are none.
    """
    if folder.is_file():
        return [Photo(folder.name, folder)]
    if not folder.is_dir():
        raise MissingFile(f"There is no folder {folder} with {what}. Give the path of a folder with images.")
    os.scandir(folder).close()  # raises PermissionError, unlike rglob
    photos = [Photo(str(path.relative_to(folder)), path) for path in image_files(folder)]
    if not photos:
        raise InvalidData(" ".join([f"The folder {folder} contains no images to use as {what}.", *left_out(folder)]))
    return photos


def read_all(photos: Sequence[Photo], bar: Bar = iter) -> Iterator[tuple[Image.Image, list[str]]]:
    """Yields each image, with a sentence per defect of its file.

    Raises UnreadablePictures after the last one if some cannot be read; the error names all of them.
    """
    causes = []
    for photo in bar(photos):
        try:
            reading = photo.read()
        except UnreadablePictures as error:
            causes += error.causes
        else:
            yield reading.image, [f"{photo.name}: {oddity}." for oddity in reading.oddities]
    if causes:
        raise UnreadablePictures(causes)


def read_once(photos: Sequence[Photo], bar: Bar = iter) -> list[str]:
    """Reads all images once, before long work starts, and returns the sentences of read_all.

    Raises UnreadablePictures.
    """
    return [sentence for _, sentences in read_all(photos, bar) for sentence in sentences]


def to_tensor(image: Image.Image) -> Tensor:
    """Converts an image to a tensor [1, 3, H, W], float32 in [-1, 1]."""
    pixels = torch.from_numpy(np.array(image, dtype=np.float32))
    return (pixels / 127.5 - 1).permute(2, 0, 1).unsqueeze(0)


def save(picture: Image.Image, path: Path, **texts: str) -> None:
    """Writes ``picture`` to ``path`` atomically, in the format of the suffix.

    A PNG gets ``texts`` by keyword, and our name, so that a later run may replace the file. Other formats ignore both.
    """
    info = PngInfo()
    for keyword, text in {"Software": PROGRAM, **texts}.items():
        info.add_text(keyword, text)
    with written(path) as temporary:
        picture.save(temporary, pnginfo=info)


def blank(pixels: Tensor) -> bool:
    """Returns whether ``pixels`` [3, H, W] in [-1, 1] have a single colour, or values that are not finite."""
    return not pixels.isfinite().all() or bool(pixels.max() - pixels.min() < 1 / 127.5)


def to_image(pixels: Tensor) -> Image.Image:
    """Converts ``pixels`` [3, H, W] to an image, the inverse of to_tensor. Clips values to [-1, 1]."""
    scaled = ((pixels.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(scaled.permute(1, 2, 0).numpy())

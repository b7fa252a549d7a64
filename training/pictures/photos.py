"""Pictures by name, as folders hold them; pictures to tensors and back."""

import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import UserError
from ..files import written
from .reading import Reading, UnreadablePictures, read_picture, suffixes

MASK_ENDINGS = ("-mask", "_mask")  # of the name of a photo's mask, behind the photo's own
HEIF = (".heic", ".heif", ".hif")
NO_PHOTOS = {"mask", "masks", "masklabel", "thumb", "thumbs", "thumbnail", "thumbnails", "report", "reports"}
NAMED = 10  # files in a sentence


@dataclass(frozen=True)
class Photo:
    """A picture with a name: a file that is read when it is needed, or an image in memory; and what is said of it."""

    name: str
    source: Path | Image.Image
    age: str | int | None = None  # an age class, or years; None: unknown
    caption: str | None = None
    mask: Path | Image.Image | None = None  # see masks.mask_of

    def read(self) -> Reading:
        """The picture as upright 8-bit sRGB, and what is odd about its file. Raises UnreadablePictures."""
        return read_picture(self.source) if isinstance(self.source, Path) else Reading(self.source)

    def image(self) -> Image.Image:
        """The picture as upright 8-bit sRGB. Raises UnreadablePictures."""
        return self.read().image

    def content(self) -> bytes:
        """What tells this picture from another: the file's bytes, or the pixels."""
        return self.source.read_bytes() if isinstance(self.source, Path) else self.source.tobytes()


Bar = Callable[[Sequence[Photo]], Iterable[Photo]]
"""Shows how far a loop over pictures is: wraps what is looped over, as tqdm does. ``iter`` shows nothing."""


def image_files(folder: Path) -> Iterator[Path]:
    """The photos of ``folder`` and its sub-folders, sorted by path."""
    return (path for path, reason in _files(folder) if reason is None)


def left_out(folder: Path) -> list[str]:
    """A sentence on the files of ``folder`` that are not read, if there are any, with the reasons."""
    if not folder.is_dir():
        return []
    reasons: dict[str, list[str]] = {}
    for path, reason in _files(folder):
        if reason:
            reasons.setdefault(reason, []).append(str(path.relative_to(folder)))
    if not reasons:
        return []
    return [f"Left out of {folder}: " + "; ".join(f"{abridged(names)} ({why})" for why, names in reasons.items()) + "."]


def _files(folder: Path) -> Iterator[tuple[Path, str | None]]:
    """Every file but hidden ones, captions and photos' masks, sorted by path, and why it is no photo, or None."""
    paths = sorted(folder.rglob("*"))
    named = {path.with_suffix("") for path in paths if path.suffix.lower() in suffixes()}
    for path in paths:
        parts = path.relative_to(folder).parts
        if any(part.startswith(".") for part in parts) or not path.is_file() or path.suffix.lower() == ".txt":
            continue
        masked = (path.with_name(path.stem.removesuffix(ending)) for ending in MASK_ENDINGS if path.suffix == ".png")
        if any(photo.name != path.stem and photo in named for photo in masked):
            continue
        said = NO_PHOTOS.intersection(re.findall("[a-z]+", " ".join(parts).lower()))
        if path.suffix.lower() not in suffixes():
            heic = path.suffix.lower() in HEIF
            yield path, "HEIC needs the package pillow-heif: pip install pillow-heif" if heic else "no picture"
        else:
            yield path, f"by its name a {min(said)}, no photo" if said else None


def abridged(names: Sequence[str]) -> str:
    """The names as a list; of many, the first and how many more."""
    return ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")


def read_folder(folder: Path, what: str) -> list[Photo]:
    """Every photo of a folder, or of one file. Raises UserError where there is none; ``what`` says what was wanted."""
    if folder.is_file():
        return [Photo(folder.name, folder)]
    if not folder.is_dir():
        raise UserError(f"There is no folder {folder} for {what}. Give the path of a folder with pictures.")
    os.scandir(folder).close()  # rglob passes over what may not be read
    photos = [Photo(str(path.relative_to(folder)), path) for path in image_files(folder)]
    if not photos:
        raise UserError(" ".join([f"The folder {folder} holds no picture, so there are no {what}.", *left_out(folder)]))
    return photos


def read_all(photos: Sequence[Photo], bar: Bar = iter) -> Iterator[tuple[Image.Image, list[str]]]:
    """Every picture, with a sentence on each thing that is odd about its file.

    Raises UnreadablePictures behind the last, which names all that cannot be read.
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
    """Reads every picture before long work begins, and keeps what read_all says of them. Raises as that does."""
    return [sentence for _, sentences in read_all(photos, bar) for sentence in sentences]


def to_tensor(image: Image.Image) -> Tensor:
    """[1, 3, H, W] float32 in [-1, 1]."""
    pixels = torch.from_numpy(np.array(image, dtype=np.float32))
    return (pixels / 127.5 - 1).permute(2, 0, 1).unsqueeze(0)


def save(picture: Image.Image, path: Path) -> None:
    """Writes ``picture`` to ``path``, whole or not at all; the suffix chooses the format."""
    with written(path) as temporary:
        picture.save(temporary)


def blank(pixels: Tensor) -> bool:
    """Whether [3, H, W] in [-1, 1] shows one colour all over, or has numbers that are not finite."""
    return not pixels.isfinite().all() or bool(pixels.max() - pixels.min() < 1 / 127.5)


def to_image(pixels: Tensor) -> Image.Image:
    """The inverse of to_tensor for [3, H, W]; values beyond [-1, 1] are clipped."""
    scaled = ((pixels.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().byte()
    return Image.fromarray(scaled.permute(1, 2, 0).numpy())

"""The content of the files that a subject was made from, by which a finished subject is known again."""

import hashlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from ..files import file_sha256
from ..pictures.reading import suffixes

IMAGES = ("subject", "regularization", "impostors")  # folders of images with their captions
WEIGHTS = ("checkpoint", "tiny_vae")  # files, or folders of diffusers


def contents(paths: Mapping[str, Path | None]) -> dict[str, str]:
    """Returns a SHA-256 for each of the inputs IMAGES and WEIGHTS among ``paths`` that exists, by name.

    It covers the content and, in folders, the names of the files, which may hold ages, but not where they lie.
    """
    return {
        name: _content(path, images=name in IMAGES)
        for name in (*IMAGES, *WEIGHTS)
        if (path := paths.get(name)) and path.exists()
    }


def _content(path: Path, images: bool) -> str:
    if path.is_file():
        return _sha256(path)
    digest = hashlib.sha256()
    for file in _files(path, images):
        digest.update(f"{file.relative_to(path).as_posix()} {_sha256(file)}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()


def _files(folder: Path, images: bool) -> Iterator[Path]:
    for file in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
        read = not images or file.suffix.lower() in (*suffixes(), ".txt")
        if read and not hidden and file.is_file():
            yield file


def _sha256(file: Path) -> str:
    status = file.stat()
    return _known_sha256(file, status.st_size, status.st_mtime_ns)


@cache
def _known_sha256(file: Path, size: int, changed: int) -> str:
    """Reads a base model once, however many subjects use it."""
    return file_sha256(file)

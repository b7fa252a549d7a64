"""Atomic file writes, the rule about what they may replace, checks before a write, and file hashes."""

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from .errors import FileConflict, Unavailable
from .names import utf8_name

PARTIAL = ".identity-aging-partial-"  # prefix of the temporary folders for unfinished files

PROGRAM = "Identity Aging"  # in the Software text of each PNG
_MARKS = (  # by suffix
    rb"\x89PNG.*Software\0Identity Aging",
    rb'.*<meta name="generator" content="Identity Aging">',
    rb'.{8}\{"__metadata__":\{("([^"\\]|\\.)*":"([^"\\]|\\.)*",)*"identity_aging',  # .safetensors metadata
    rb"PK\x03\x04.{26}training-state/",  # torch names the parts of an archive after its file
)
_MARKS_WITHIN = 8192  # bytes from the start of a file
_OPENINGS = (  # of the tables and JSON, which have no place for a mark
    b"set,image,age,face_found,",  # the report
    b'{\n  "summary": {\n    "matcher": ',
    b"name,state,similarity,yardstick,",  # a cast
    b"step,reconstruction",  # a training: losses, run file, record, previews
    b'{\n  "checkpoint": ',
    b'{"losses": ',
    b'[\n {\n  "step": ',
)


@contextlib.contextmanager
def written(path: Path) -> Generator[Path, None, None]:
    """Yields a temporary file of the same name; it replaces ``path`` if the block succeeds, else it is deleted.

    The file gets the mode of a newly created file and is synced to disk before it replaces ``path``. Raises UserError
    if the system refuses the write.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A temporary folder, because safetensors leaves its own temporary files behind if it is killed.
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=path.parent) as folder:
            temporary = Path(folder) / path.name
            temporary.touch()
            mode = temporary.stat().st_mode  # to restore: safetensors makes its files private
            yield temporary
            temporary.chmod(mode)
            _to_disk(temporary, os.O_RDWR)
            temporary.replace(path)
        if hasattr(os, "O_DIRECTORY"):  # Windows cannot open folders
            _to_disk(path.parent, os.O_RDONLY)
    except Exception as error:
        if reason := _refusal(error):
            raise Unavailable(f"{path} cannot be written: {reason}. Fix this, or write to another folder.") from error
        raise


def _to_disk(path: Path, mode: int) -> None:
    descriptor = os.open(path, mode)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _refusal(error: Exception) -> str | None:
    """Returns the system's reason if ``error`` is a failed write, else None."""
    if isinstance(error, OSError):
        return error.strerror
    if number := re.search(r"\(os error (\d+)\)", str(error)):  # safetensors
        return os.strerror(int(number[1]))
    return "the disk may be full" if "inline_container.cc" in str(error) else None  # torch.save


def check_writable(path: Path) -> None:
    """Raises UserError if ``written(path)`` would fail. Leaves no files behind."""
    path = path.absolute()
    utf8_name(path)
    try:
        if path.is_dir():
            raise FileConflict(f"{path} is a folder, so no file can have that name. Choose another name.")
        existing = next(folder for folder in path.parents if folder.exists())
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=existing) as folder:
            copy = Path(folder) / path.relative_to(existing)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch()
    except OSError as error:
        raise Unavailable(
            f"{path} cannot be written: {error.strerror}. Fix this, or write to another folder."
        ) from error


def ours(path: Path) -> bool:
    """Returns whether this program wrote the file: it has our mark, or begins as our tables and JSON do."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        head = file.read(_MARKS_WITHIN)
    opens_like_ours = head.replace(b"\r\n", b"\n").startswith(_OPENINGS)
    return opens_like_ours or any(re.match(mark, head, re.DOTALL) for mark in _MARKS)


def check_replaceable(*paths: Path) -> None:
    """Raises FileConflict if one of ``paths`` exists and is not ``ours``: the rule for every output."""
    foreign = [path for path in paths if os.path.lexists(path) and not ours(path)]
    if foreign:
        more = f" and {len(foreign) - 1} more files" if foreign[1:] else ""
        raise FileConflict(
            f"{foreign[0]}{more} would be replaced, but {PROGRAM} did not write it. Choose another output, or move it."
        )


def check_room(folder: Path, size: int) -> None:
    """Raises Unavailable if the disk of ``folder`` has fewer than ``size`` bytes free."""
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if (free := shutil.disk_usage(existing).free) < size:
        raise Unavailable(
            f"{folder} needs {size / 1e9:.2f} GB, but its disk has only {free / 1e9:.2f} GB free. Free some space, or "
            "write to another disk."
        )


def clear_partial(folder: Path, older_than: float = 0) -> None:
    """Deletes unfinished files in ``folder`` that are at least ``older_than`` seconds old.

    Use 0 only if no other process writes to the folder.
    """
    for leftover in folder.glob(f"{PARTIAL}*"):
        # tempfile appends eight characters; anything else of that prefix is not ours.
        if leftover.is_symlink() or not re.fullmatch(r"[a-z0-9_]{8}", leftover.name.removeprefix(PARTIAL)):
            continue
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # another process was faster; it is a file
            if time.time() - leftover.stat().st_mtime >= older_than:
                shutil.rmtree(leftover)


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()

"""Files written whole or not at all, and weights read without running code."""

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

from .errors import Unavailable, UserError
from .names import utf8_name

PARTIAL = ".partial-"  # begins the folders that hold what is not whole yet


@contextlib.contextmanager
def written(path: Path) -> Generator[Path, None, None]:
    """A temporary file of the same name, which becomes ``path`` when the block ends well and vanishes otherwise.

    It has the mode of any new file, and is on the disk before it replaces what was there. Raises UserError where the
    system refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # A folder, since safetensors leaves temporary files of its own when it is killed.
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=path.parent) as folder:
            temporary = Path(folder) / path.name
            temporary.touch()
            mode = temporary.stat().st_mode  # safetensors makes its files private
            yield temporary
            temporary.chmod(mode)
            _to_disk(temporary, os.O_RDWR)
            temporary.replace(path)
        if hasattr(os, "O_DIRECTORY"):  # Windows opens no folders
            _to_disk(path.parent, os.O_RDONLY)
    except Exception as error:
        if reason := _refusal(error):
            raise Unavailable(f"{path} cannot be written: {reason}. Mend that, or write to another place.") from error
        raise


def _to_disk(path: Path, mode: int) -> None:
    opened = os.open(path, mode)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _refusal(error: Exception) -> str | None:
    """What the system said when it refused to write; None for any other error."""
    if isinstance(error, OSError):
        return error.strerror
    if number := re.search(r"\(os error (\d+)\)", str(error)):  # safetensors
        return os.strerror(int(number[1]))
    return "the disk may be full" if "inline_container.cc" in str(error) else None  # torch.save


def check_writable(path: Path) -> None:
    """Raises UserError where ``written(path)`` would be refused. Leaves nothing behind."""
    path = path.absolute()
    utf8_name(path)
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder, and no file can have its name.")
        there = next(folder for folder in path.parents if folder.exists())
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=there) as folder:
            copy = Path(folder) / path.relative_to(there)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.touch()
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}. Mend that, or write to another place.") from error


def check_room(folder: Path, size: int) -> None:
    """Raises Unavailable where the disk of ``folder`` has not ``size`` bytes left."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if (free := shutil.disk_usage(there).free) < size:
        raise Unavailable(
            f"{folder} needs {size / 1e9:.2f} GB, and its disk has {free / 1e9:.2f} GB left. Make room, or write to "
            "another place."
        )


def clear_partial(folder: Path, older_than: float = 0) -> None:
    """Removes what killed writers left in ``folder`` more than so many seconds ago; 0: where nobody else writes."""
    for left in folder.glob(f"{PARTIAL}*"):
        with contextlib.suppress(FileNotFoundError):  # another process of the same training was faster
            if time.time() - left.stat().st_mtime >= older_than:
                shutil.rmtree(left)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()

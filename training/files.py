"""Files written whole or not at all, and weights read without running code."""

import contextlib
import hashlib
import math
import os
import pickle
import re
import shutil
import stat
import struct
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .errors import NotHere, UserError

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
            raise NotHere(f"{path} cannot be written: {reason}. Mend that, or write to another place.") from error
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
    """Raises NotHere where the disk of ``folder`` has not ``size`` bytes left."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    if (free := shutil.disk_usage(there).free) < size:
        raise NotHere(
            f"{folder} needs {size / 1e9:.2f} GB, and its disk has {free / 1e9:.2f} GB left. Make room, or write to "
            "another place."
        )


def clear_partial(folder: Path, older_than: float = 0) -> None:
    """Removes what killed writers left in ``folder`` more than so many seconds ago; 0: where nobody else writes."""
    for left in folder.glob(f"{PARTIAL}*"):
        with contextlib.suppress(FileNotFoundError):  # another process of the same training was faster
            if time.time() - left.stat().st_mtime >= older_than:
                shutil.rmtree(left)


def utf8_name(path: Path) -> Path:
    """``path``, if safetensors can open it. Raises UserError otherwise."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"The name {path} is not UTF-8, and safetensors opens no such file. Rename it.") from error
    return path


def checked_name(name: str) -> str:
    """``name``, if it can name a file in a folder and nothing else. Raises UserError otherwise."""
    if re.fullmatch(r"\w[\w .-]{0,62}\w|\w", name):
        return name
    raise UserError(
        f"'{name}' cannot name a file. Use up to 64 letters, digits, spaces, dots, dashes and underscores, with a "
        "letter or digit at both ends."
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()


def digest(state: dict[str, torch.Tensor]) -> str:
    """SHA-256 of named tensors, whatever the order of the names: of each the name, the dtype, the shape, the bytes."""
    result = hashlib.sha256()
    for name, value in sorted(state.items()):
        result.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        result.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return result.hexdigest()


# What torch.load raises on bytes that are no pickle, depending on where they go wrong.
_UNPICKLING_ERRORS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    struct.error,
)


def read_pickle(path: Path) -> Any:
    """Tensors and plain containers that torch.save wrote, on the CPU. Raises UserError for anything else."""
    _head(path)
    try:
        with path.open("rb") as file:  # of a path torch goes by the suffix
            return torch.load(file, map_location="cpu", weights_only=True)
    except _UNPICKLING_ERRORS as error:
        raise _unreadable(path, error) from error


def _head(path: Path) -> bytes:
    """The first nine bytes of a file. Raises UserError where it cannot be opened; a pipe would never answer."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise UserError(f"{path} is no file.")
        with path.open("rb") as file:
            return file.read(9)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"There is no file {path}.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {error.strerror}.") from error


def _unreadable(path: Path, error: Exception) -> UserError:
    refused = re.search(r"GLOBAL (\S+)", str(error))
    reason = f"it names {refused[1]}" if refused else str(error).strip().split("\n")[0][:150]
    return UserError(
        f"{path} cannot be read as a model file ({type(error).__name__}: {reason}). It may be damaged, half "
        "downloaded, or hold code, which is never loaded; get it again, best as .safetensors."
    )


class _Bystander:
    """Takes the place of a trainer's bookkeeping in a .ckpt, so that the weights beside it can be read."""

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass


# What the published sd-v1-4 .ckpt pickles beside its weights. Any other name is refused by weights_only.
_BYSTANDERS = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a safetensors file or a pickle, whatever its suffix, on the CPU. Never runs a pickle's code.

    Raises UserError where the file is missing, damaged, or holds something other than tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    head = _head(path)
    # A zip archive, or a pickle of protocol 2; the latter could also begin a safetensors file, whose JSON comes then.
    if head[:4] != b"PK\x03\x04" and (head[:1] != b"\x80" or head[8:] == b"{"):
        try:
            return load_file(utf8_name(path))
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, error) from error
    with torch.serialization.safe_globals([(_Bystander, name) for name in _BYSTANDERS]):
        state = read_pickle(path)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    tensors = state.items() if isinstance(state, dict) else ()
    tensors = {key: value for key, value in tensors if isinstance(value, torch.Tensor)}
    if not tensors:
        raise UserError(f"{path} holds no weights.")
    for key, value in tensors.items():
        if not isinstance(key, str):
            raise UserError(f"{path} has weights without names: one is called {key!r}. It is no model's file.")
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            kind = "meta" if value.is_meta else "quantised" if value.is_quantized else "sparse"
            raise UserError(f"{path} cannot be used: {key} is a {kind} tensor. Save it with plain tensors.")
    return tensors


def finite(value: Any) -> Any:
    """``value`` as JSON can hold it: plain types, and None for every number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Reads model weights from safetensors files and pickles without running code, and computes their digest."""

import hashlib
import pickle
import re
import stat
import struct
from pathlib import Path
from typing import Any

import torch

from .errors import DamagedFile, MissingFile, Unavailable, UserError
from .names import utf8_name


def digest(state: dict[str, torch.Tensor]) -> str:
    """Returns the SHA-256, in hex, over the names, dtypes, shapes and bytes of ``state``, sorted by name."""
    result = hashlib.sha256()
    for name, value in sorted(state.items()):
        result.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        result.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return result.hexdigest()


# What torch.load raises on bytes that are not a pickle, depending on where it fails.
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
    """Loads tensors and plain containers saved by torch.save, on the CPU. Raises UserError for anything else."""
    _first_bytes(path)
    try:
        with path.open("rb") as file:  # torch would choose the format by a path's suffix
            return torch.load(file, map_location="cpu", weights_only=True)
    except _UNPICKLING_ERRORS as error:
        raise _unreadable(path, error) from error


def _first_bytes(path: Path) -> bytes:
    """Returns the first nine bytes of a file. Raises UserError if it cannot be opened or is not a regular file."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading from a pipe could block forever
            raise MissingFile(f"{path} is not a file.")
        with path.open("rb") as file:
            return file.read(9)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFile(f"There is no file {path}.") from error
    except OSError as error:
        raise Unavailable(f"{path} cannot be opened: {error.strerror}.") from error


def _unreadable(path: Path, error: Exception) -> UserError:
    refused = re.search(r"GLOBAL (\S+)", str(error))
    reason = f"it refers to {refused[1]}" if refused else str(error).strip().split("\n")[0][:150]
    return DamagedFile(
        f"{path} cannot be read as a model file ({type(error).__name__}: {reason}). It may be damaged, incomplete, or "
        "contain code, which is never loaded. Download it again, preferably as .safetensors."
    )


class _Placeholder:
    """Stands in for a trainer's own objects in a .ckpt, so that the weights can be read without their code."""

    def __init__(self, *args):
        pass

    def __setstate__(self, state):
        pass


# What the published sd-v1-4 .ckpt pickles besides its weights. weights_only refuses any other name.
_REPLACED = (
    "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "_codecs.encode",
)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Loads all tensors of a safetensors file or a pickle, on the CPU. Detects the format by content, not by suffix.

    Never runs code from a pickle. Raises UserError if the file is missing, damaged, or contains no plain named tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    head = _first_bytes(path)
    # PK\x03\x04 starts a zip archive, and \x80 a pickle of protocol 2. \x80 can also be the first length byte of a
    # safetensors file, whose JSON header then starts at byte 8.
    if head[:4] != b"PK\x03\x04" and (head[:1] != b"\x80" or head[8:] == b"{"):
        try:
            return load_file(utf8_name(path))
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, error) from error
    with torch.serialization.safe_globals([(_Placeholder, name) for name in _REPLACED]):
        state = read_pickle(path)
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    tensors = state.items() if isinstance(state, dict) else ()
    tensors = {key: value for key, value in tensors if isinstance(value, torch.Tensor)}
    if not tensors:
        raise DamagedFile(f"{path} contains no weights. Choose a model file.")
    for key, value in tensors.items():
        if not isinstance(key, str):
            raise DamagedFile(f"{path} is not a model file: one of its weights is named {key!r}, which is not text.")
        if value.layout != torch.strided or value.is_meta or value.is_quantized:
            kind = "meta" if value.is_meta else "quantised" if value.is_quantized else "sparse"
            raise DamagedFile(f"{path} cannot be used: {key} is a {kind} tensor. Save the model with plain tensors.")
    return tensors

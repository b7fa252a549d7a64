"""TODO."""

import hashlib
import pickle
import re
import stat
import struct
from pathlib import Path
from typing import Any

import torch

from .errors import UserError
from .names import utf8_name


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

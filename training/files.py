"""Files written whole or not at all, and weights read without running code."""

import contextlib
import hashlib
import math
import os
import pickle
import re
import struct
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .errors import UserError


@contextlib.contextmanager
def written(path: Path) -> Generator[Path, None, None]:
    """A temporary name beside ``path`` that becomes ``path`` when the block ends well, and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # keeps the suffix, by which writers choose a format
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
    struct.error,
)


def read_pickle(path: Path) -> Any:
    """Tensors and plain containers that torch.save wrote, on the CPU. Raises UserError for anything else."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except _UNPICKLING_ERRORS as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> UserError:
    if isinstance(error, FileNotFoundError):
        return UserError(f"There is no file {path}.")
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
    """Every tensor of a .safetensors, .ckpt, .pt or .pth file, on the CPU. Never runs code that a pickle names.

    Raises UserError where the file is missing, damaged, or holds something other than tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if path.suffix.lower() == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise _unreadable(path, error) from error
    with torch.serialization.safe_globals([(_Bystander, name) for name in _BYSTANDERS]):
        state = read_pickle(path)
    while isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    tensors = (
        {key: value for key, value in state.items() if isinstance(value, torch.Tensor)}
        if isinstance(state, dict)
        else {}
    )
    if not tensors:
        raise UserError(f"{path} holds no weights.")
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

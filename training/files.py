"""Files written whole or not at all, and weights read without running code."""

import contextlib
import hashlib
import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import torch

from .errors import UserError


@contextlib.contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary name beside ``path`` that becomes ``path`` when the block ends well, and vanishes otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{os.getpid()}.{path.name}")  # keeps the suffix, by which writers choose a format
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal text."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()


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
    "numpy.dtype",
    "_codecs.encode",
)


def read_state_dict(path: Path) -> dict[str, torch.Tensor]:
    """Every tensor of a .safetensors, .ckpt, .pt or .pth file, on the CPU. Never runs code that a pickle names.

    Raises UserError where the file is missing, damaged, or holds something other than tensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        if path.suffix.lower() == ".safetensors":
            return load_file(path)
        with torch.serialization.safe_globals([(_Bystander, name) for name in _BYSTANDERS]):
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"There is no file {path}.") from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).strip().split("\n")[0][:150] or type(error).__name__
        raise UserError(
            f"{path} cannot be read as a model file ({reason}). It may be damaged, half downloaded, or hold code, "
            "which is never loaded; get it again, best as .safetensors."
        ) from error
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

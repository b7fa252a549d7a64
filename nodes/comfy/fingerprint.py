"""What a loaded model is known by: its weights, with the patches that are on them."""

from collections.abc import Iterator
from typing import Any

import torch
from comfy.quant_ops import QuantizedTensor
from torch import Tensor

from ...training.models.fingerprint import fingerprint

ROOT = "diffusion_model."


def network_fingerprint(model: Any) -> str:
    """Of the network of a MODEL."""
    return fingerprint(dict(sampled(model, ROOT)))


def sampled(patcher, prefix: str | None = None) -> Iterator[tuple[str, Tensor]]:
    """A ModelPatcher's weights before patches, and those of the patches, for a fingerprint.

    Its own get_key_patches knows no quantised layers, whose scales are numbers of the state alone.
    """
    for key, weight in patcher.model_state_dict(prefix).items():
        name = key.removeprefix(prefix or "")
        yield name, patcher.backup[key].weight if key in patcher.backup else weight
        for number, tensor in enumerate(_tensors(patcher.patches.get(key, ()))):
            yield f"{name} patch {number}", _plain(tensor)


def _plain(weight: Tensor) -> Tensor:
    return weight._qdata if isinstance(weight, QuantizedTensor) else weight


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor and number in nested patches."""
    if torch.is_tensor(value):
        yield value
    elif isinstance(value, (int, float)):
        yield torch.tensor(float(value))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
    elif hasattr(value, "weights"):  # ComfyUI's weight adapters
        yield from _tensors(value.weights)

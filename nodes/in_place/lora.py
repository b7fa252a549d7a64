"""Adds a LoRA to a graph's MODEL and CLIP, and says how much of it ComfyUI can add."""

from dataclasses import dataclass
from typing import Any

import comfy.lora
import comfy.sd
import comfy.utils
import torch
from torch import Tensor

from ...training.errors import UnsupportedModel
from ...training.models.inplace import is_linear
from ...training.models.interface import StateDict


@dataclass(frozen=True)
class WithLora:
    """MODEL and CLIP with a LoRA."""

    model: Any
    clip: Any
    layers: int  # of the LoRA
    fitting: int  # how many of them ComfyUI adds to the weights


def with_lora(weights: StateDict, model: Any, clip: Any, strength: float = 1.0) -> WithLora:
    """Adds a LoRA's ``weights`` as ComfyUI's Load LoRA does. ``clip`` may be None."""
    patched_model, patched_clip = comfy.sd.load_lora_for_models(model, clip, weights, strength, strength)
    fitting = _fitting(model, patched_model)
    if clip is not None:
        fitting += _fitting(clip.patcher, patched_clip.patcher)
    layers = sum(key.endswith((".lora_up.weight", ".lora_B.weight")) for key in weights)
    return WithLora(patched_model, patched_clip, layers, fitting)


def check_loading(weights: StateDict, model: Any, family: str) -> None:
    """Raises UserError unless every layer of a LoRA fits, so that no training ends in a file that cannot be used."""
    loaded = with_lora(weights, model, None)
    if loaded.fitting < loaded.layers:
        raise UnsupportedModel(
            f"ComfyUI can load only {loaded.fitting} of the {loaded.layers} layers of a LoRA for this MODEL "
            f"({family}). Load the model in another number format, with one of ComfyUI's own loaders."
        )


def _fitting(before: Any, after: Any) -> int:
    """The number of patches that ``after`` has and ``before`` lacks, and that ComfyUI can add to their weights."""
    return sum(
        _fits(after.model, key, patch)
        for key, patches in after.patches.items()
        for patch in patches[len(before.patches.get(key, ())) :]
    )


def _fits(model: Any, key: str, patch: tuple) -> bool:
    """Lets ComfyUI add ``patch`` to an empty weight. It only logs what it cannot add, and then calls no function."""
    added: list[Tensor] = []

    def record(change: Tensor) -> Tensor:
        added.append(change)
        return change

    strength, adapter, strength_model, part, _ = patch
    weight = torch.empty(_shape(model, key), device="meta")
    comfy.lora.calculate_weight([(strength, adapter, strength_model, part, record)], weight, key)
    return bool(added)


def _shape(model: Any, key: str) -> tuple[int, ...]:
    """The shape of the weight that a layer computes with; NVFP4, GGUF and other formats store another."""
    layer = comfy.utils.get_attr(model, key.rpartition(".")[0])
    return (layer.out_features, layer.in_features) if is_linear(layer) else tuple(layer.weight.shape)

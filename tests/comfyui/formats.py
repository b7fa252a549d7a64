"""Weights in the number formats that ComfyUI loads, and in a custom format as extensions for GGUF files use it."""

import json
from typing import Any

import comfy.ops
import torch
from comfy.quant_ops import QUANT_ALGOS, QuantizedTensor
from torch import Tensor

State = dict[str, Tensor]


def _large(key: str, value: Tensor) -> bool:
    return (
        "blocks" in key and key.endswith(".weight") and value.ndim == 2 and not any(side % 32 for side in value.shape)
    )


def core(number_format: str, scaled: bool = False):
    """Returns a function: state -> (rounded float values, state dict as stored in a file, loader options)."""

    def quantise(state: State) -> tuple[State, State, dict[str, Any]]:
        numbers, stored = {}, {}
        for key, value in state.items():
            numbers[key] = value.bfloat16().float()
            stored[key] = value.bfloat16()
            if not _large(key, value):
                continue
            options = {"scale": "recalculate"} if number_format.startswith("float8") else {}
            packed = QuantizedTensor.from_float(
                stored.pop(key), QUANT_ALGOS[number_format]["comfy_tensor_layout"], **options
            )
            numbers[key] = packed.dequantize().float()
            stored |= packed.state_dict(key)
            layer, marker = key.removesuffix("weight"), json.dumps({"format": number_format}).encode()
            stored[f"{layer}comfy_quant"] = torch.tensor([*marker], dtype=torch.uint8)
            if scaled:
                scale = torch.linspace(0.5, 1.5, value.shape[1])
                numbers[key] *= scale
                stored[f"{layer}pre_quant_scale"] = scale
        return numbers, stored, {}

    return quantise


class Packed(Tensor):
    """Bytes that report the shape of the unpacked weight, as in extensions that load GGUF files."""

    @property
    def shape(self):
        return getattr(self, "logical", self.size())

    def to(self, *arguments, **options):
        moved = super().to(*arguments, **options)
        moved.logical = self.logical
        return moved

    def detach(self):
        return self

    clone = detach


class PackedOps(comfy.ops.manual_cast):
    """Layers that unpack a weight when they use it. Each row has a float32 scale, then one int8 per value."""

    class Linear(comfy.ops.manual_cast.Linear):
        def __init__(self, in_features, out_features, bias=True, device=None, dtype=None):
            torch.nn.Module.__init__(self)
            self.in_features, self.out_features = in_features, out_features
            self.weight = self.bias = None

        def _load_from_state_dict(self, state, prefix, *others):
            for name in ("weight", "bias"):
                if f"{prefix}{name}" in state:
                    setattr(self, name, torch.nn.Parameter(state[f"{prefix}{name}"], requires_grad=False))

        def _save_to_state_dict(self, destination, prefix, keep_vars):
            """Sizes only, of the packed weight and of the memory to unpack it."""
            if not isinstance(self.weight, Packed):
                return super()._save_to_state_dict(destination, prefix, keep_vars)
            for name in ("weight", "bias"):
                if getattr(self, name) is not None:
                    destination[f"{prefix}{name}"] = torch.zeros_like(getattr(self, name), device="meta")
            destination[f"{prefix}temp.weight"] = torch.empty(self.weight.shape, device="meta")

        def forward_comfy_cast_weights(self, x):
            weight = unpacked(self.weight) if isinstance(self.weight, Packed) else self.weight
            return torch.nn.functional.linear(
                x, weight.to(x.dtype), None if self.bias is None else self.bias.to(x.dtype)
            )


def unpacked(packed: Packed) -> Tensor:
    values = packed.as_subclass(Tensor)
    return values[:, 4:].view(torch.int8).float() * values[:, :4].contiguous().view(torch.float32)


def packs(state: State) -> tuple[State, State, dict[str, Any]]:
    """Like the functions of ``core``, in the custom format."""
    numbers, stored = {}, {}
    for key, value in state.items():
        numbers[key] = stored[key] = value
        if _large(key, value):
            scale = value.abs().amax(1, keepdim=True) / 127
            rows = [scale.view(torch.uint8), (value / scale).round().to(torch.int8).view(torch.uint8)]
            stored[key] = torch.cat(rows, 1).as_subclass(Packed)
            stored[key].logical = value.shape
            numbers[key] = unpacked(stored[key])
    return numbers, stored, {"custom_operations": PackedOps}


FORMATS = {name: core(name) for name in ("float8_e4m3fn", "int8_tensorwise", "mxfp8")}
FORMATS |= {"nvfp4": core("nvfp4", scaled=True), "packed": packs}

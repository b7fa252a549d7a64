"""Weights that ComfyUI loads, in a way that autograd can work with."""

from contextlib import contextmanager
from typing import Any

import comfy.model_management
import comfy.ops
import torch
from comfy.quant_ops import QuantizedTensor
from torch import nn

from ...training.errors import UserError


def clone_static(patcher):
    """A clone whose weights stay where they are while it is loaded: no dynamic VRAM, which reuses their memory.

    Raises UserError where ComfyUI cannot make one.
    """
    if not patcher.is_dynamic():
        return patcher.clone()
    try:
        return patcher.clone(disable_dynamic=True)
    except RuntimeError as error:
        raise UserError(
            "This model's weights come and go on the GPU (dynamic VRAM), and ComfyUI cannot open its file again to "
            "keep them there for training. Start ComfyUI with --disable-dynamic-vram, or load it with a core loader."
        ) from error


def load_in_inference_mode(*patchers, **options: Any) -> None:
    """Loads models as ComfyUI's nodes have them loaded, in inference mode.

    Weights of that mode that are moved outside of it, such as those of a model that has to make room, are neither in
    it nor out of it afterwards, and even a view of them fails.
    """
    with torch.inference_mode():
        comfy.model_management.load_models_gpu(list(patchers), **options)


def leave_inference_mode(module: nn.Module) -> None:
    """Takes weights and buffers that were loaded in inference mode out of it; their memory stays the same."""
    for part in module.modules():
        tables: Any = (part._parameters, part._buffers)
        for table in tables:
            for name, value in table.items():
                if value is None or isinstance(value.data, QuantizedTensor) or _outside_inference(value):
                    continue
                table[name] = _clone_outside_inference(value)


def _outside_inference(value: torch.Tensor) -> bool:
    """Whether autograd can keep ``value``. One that was moved outside inference mode only seems to have left it."""
    try:
        return not value.is_inference() and value._version >= 0
    except RuntimeError:
        return False


def _clone_outside_inference(value: torch.Tensor) -> torch.Tensor:
    """The same memory as a tensor of the same class: packs for GGUF keep a weight's format and shape on their own."""
    twin, kind = torch.empty(0, dtype=value.dtype, device=value.device), type(value.data)
    twin.set_(value.untyped_storage(), value.storage_offset(), value.size(), value.stride())
    twin = twin if kind is torch.Tensor else twin.as_subclass(kind)
    twin = nn.Parameter(twin, requires_grad=False) if isinstance(value, nn.Parameter) else twin
    twin.__dict__.update(value.__dict__)
    return twin


@contextmanager
def cast_weight(layer, dtype: torch.dtype, device: torch.device):
    """A layer's weight with its patches, as its forward pass uses it.

    Where that scales its input first (NVFP4 after AWQ), the scales are in the weight's columns.
    """
    weight, bias, stream = comfy.ops.cast_bias_weight(
        layer, None, dtype=dtype, device=device, bias_dtype=dtype, offloadable=True
    )
    plain = weight.dequantize().to(dtype) if isinstance(weight, QuantizedTensor) else weight
    scale = getattr(layer, "pre_quant_scale", None)
    try:
        yield plain if scale is None else plain * scale.to(plain)
    finally:
        comfy.ops.uncast_bias_weight(layer, weight, bias, stream)

"""Loads ComfyUI's weights so that autograd works on them."""

from contextlib import contextmanager
from typing import Any

import comfy.model_management
import comfy.ops
import torch
from comfy.quant_ops import QuantizedTensor
from torch import nn

from ...training.errors import Unavailable


def clone_static(patcher):
    """Returns a clone without dynamic VRAM, so that its weights stay in place while it is loaded.

    Raises UserError if ComfyUI cannot make one.
    """
    if not patcher.is_dynamic():
        return patcher.clone()
    try:
        return patcher.clone(disable_dynamic=True)
    except RuntimeError as error:
        raise Unavailable(
            "This model's weights move on and off the GPU (dynamic VRAM), and ComfyUI cannot reload its file without "
            "that. Load it with a core loader, or start ComfyUI with --disable-dynamic-vram."
        ) from error


def load_in_inference_mode(*patchers, **options: Any) -> None:
    """Loads models in inference mode, as ComfyUI does for its nodes.

    Inference-mode weights that are moved outside inference mode, such as when a model is unloaded to make room, end up
    half in, half out; even a view of them raises.
    """
    with torch.inference_mode():
        comfy.model_management.load_models_gpu(list(patchers), **options)


def leave_inference_mode(module: nn.Module) -> None:
    """Replaces weights and buffers that were loaded in inference mode by normal tensors that share their memory."""
    for part in module.modules():
        tables: Any = (part._parameters, part._buffers)
        for table in tables:
            for name, value in table.items():
                if value is None or isinstance(value.data, QuantizedTensor) or _is_normal(value):
                    continue
                table[name] = _normal_view(value)


def _is_normal(value: torch.Tensor) -> bool:
    """Whether autograd can save ``value``. A tensor moved outside inference mode is not normal, but claims to be."""
    try:
        return not value.is_inference() and value._version >= 0
    except RuntimeError:
        return False


def _normal_view(value: torch.Tensor) -> torch.Tensor:
    """A normal tensor with ``value``'s memory, class and attributes, in which GGUF packs store format and shape."""
    view, tensor_class = torch.empty(0, dtype=value.dtype, device=value.device), type(value.data)
    view.set_(value.untyped_storage(), value.storage_offset(), value.size(), value.stride())
    view = view if tensor_class is torch.Tensor else view.as_subclass(tensor_class)
    view = nn.Parameter(view, requires_grad=False) if isinstance(value, nn.Parameter) else view
    view.__dict__.update(value.__dict__)
    return view


@contextmanager
def cast_weight(layer, dtype: torch.dtype, device: torch.device):
    """Yields a layer's weight with its patches, as its forward pass uses it.

    For layers that scale their input first (NVFP4 after AWQ), the scales are multiplied into the weight's columns.
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

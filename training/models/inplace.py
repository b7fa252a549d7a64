"""LoRA (Hu et al. 2021) on layers of another program: replaces their ``forward``, and restores it afterwards.

The base weights keep their dtype. Autograd would keep every weight that is cast for the forward pass; ``Frozen`` keeps
none and casts it again for the backward pass.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CastWeight = Callable[[Any, torch.dtype, torch.device], AbstractContextManager[Tensor]]  # yields a layer's weight
Undo = Callable[[], None]

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


class Lora(nn.Module):
    """alpha / rank * up(down(x)), float32, to add to the output of one linear or convolutional layer.

    ``up`` starts at zero. ``down`` is normal with standard deviation 1 / rank, as in peft's "gaussian" and diffusers'
    training scripts. While ``on`` is False, the layer ignores it.
    """

    def __init__(self, layer: Any, rank: int, alpha: float, generator: torch.Generator):
        super().__init__()
        self.scale = alpha / rank
        self.on = True
        self.convolution: dict[str, Any] | None = None
        inputs, outputs, kernel = (layer.in_features, layer.out_features, ()) if is_linear(layer) else _shape(layer)
        if kernel:
            self.convolution = {name: getattr(layer, name) for name in ("stride", "padding", "dilation")}
        self.down = nn.Parameter(torch.randn(rank, inputs, *kernel, generator=generator) / rank)
        self.up = nn.Parameter(torch.zeros(outputs, rank, *(1 for _ in kernel)))

    def forward(self, x: Tensor) -> Tensor:
        """Returns what to add to the layer's output for its input ``x``, in the dtype of ``x``."""
        down, up = self.down.to(x.dtype), self.up.to(x.dtype)
        if self.convolution is None:
            return functional.linear(functional.linear(x, down), up) * self.scale
        convolve = _CONVOLUTIONS[down.ndim - 2]
        return convolve(convolve(x, down, **self.convolution), up) * self.scale


def is_linear(layer: Any) -> bool:
    """Whether ``layer`` is linear, including quantised layers that do not subclass nn.Linear."""
    return isinstance(layer, nn.Linear) or (
        hasattr(layer, "in_features") and hasattr(layer, "out_features") and hasattr(layer, "weight")
    )


def is_layer(layer: Any) -> bool:
    """Whether ``layer`` can have a LoRA: linear, or an ungrouped convolution."""
    ungrouped = isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and layer.groups == 1
    return is_linear(layer) or ungrouped


def _shape(layer: Any) -> tuple[int, int, tuple[int, ...]]:
    return layer.in_channels, layer.out_channels, tuple(layer.kernel_size)


class Frozen(torch.autograd.Function):
    """y = layer(x) with a gradient for x only. Keeps no copy of the layer's weight for the backward pass."""

    @staticmethod
    def forward(ctx, x: Tensor, layer: Any, run: Callable[..., Tensor], cast: CastWeight, arguments: tuple):
        """Returns run(x, *arguments), where ``run`` is the layer's original forward."""
        ctx.layer, ctx.cast, ctx.shape, ctx.dtype = layer, cast, x.shape, x.dtype
        return run(x, *arguments)

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        """The gradient for x of a linear layer or a convolution. Casts the weight again."""
        (gradient,), layer = gradients, ctx.layer
        with ctx.cast(layer, gradient.dtype, gradient.device) as weight:
            if is_linear(layer):
                inner = gradient @ weight
            else:
                inner = torch.ops.aten.convolution_backward(
                    gradient,
                    gradient.new_empty(1).expand(ctx.shape),  # only its shape is read
                    weight,
                    None,
                    layer.stride,
                    layer.padding,
                    layer.dilation,
                    False,
                    [0] * (weight.ndim - 2),
                    layer.groups,
                    (True, False, False),
                )[0]
        return inner.to(ctx.dtype), None, None, None, None


def wrap_layer(layer: Any, lora: Lora | None, cast: CastWeight | None) -> Undo:
    """Freezes ``layer`` and adds ``lora`` to its output. Returns a function that undoes this.

    If ``cast`` is None, the layer runs a second time in the backward pass (checkpointing) instead of ``Frozen``.
    """
    run = layer.forward

    def forward(x: Tensor, *arguments: Any, **options: Any) -> Tensor:
        if options or not (torch.is_grad_enabled() and x.requires_grad):
            y = run(x, *arguments, **options)
        elif cast is None:
            y = checkpoint(run, x, *arguments, use_reentrant=False)
        else:
            y = Frozen.apply(x, layer, run, cast, arguments)
        return y + lora(x).to(y.dtype) if lora is not None and lora.on else y

    return _replace_forward(layer, forward)


def wrap_block(block: nn.Module) -> Undo:
    """Makes ``block`` recompute its activations in the backward pass. Returns a function that undoes this.

    The block gets copies of its inputs: if it added to them in place, the second run would start from other values.
    """
    run = block.forward

    def run_on_copies(*arguments: Any, **options: Any) -> Any:
        return run(*map(_clone, arguments), **{name: _clone(value) for name, value in options.items()})

    def forward(*arguments: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return run(*arguments, **options)
        return checkpoint(run_on_copies, *arguments, use_reentrant=False, **options)

    return _replace_forward(block, forward)


def _clone(value: Any) -> Any:
    return value.clone() if isinstance(value, Tensor) else value


def _replace_forward(module: Any, forward: Callable) -> Undo:
    before = module.__dict__.get("forward")
    module.forward = forward

    def undo() -> None:
        if before is None:
            del module.forward
        else:
            module.forward = before

    return undo


def copy_norm_inputs(network: nn.Module) -> list[Undo]:
    """Makes every LayerNorm read a copy of its input. Returns functions that undo this.

    Otherwise a block that later adds to the same input in place breaks the norm's gradient.
    """

    def copy_input(module: nn.Module, inputs: tuple) -> tuple | None:
        x = inputs[0]
        return (x.clone(), *inputs[1:]) if torch.is_grad_enabled() and x.requires_grad else None

    norms = [module for module in network.modules() if isinstance(module, nn.LayerNorm)]
    return [norm.register_forward_pre_hook(copy_input).remove for norm in norms]


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """Yields the repeated blocks: the items of the outermost ModuleLists, looking inside containers."""
    for child in network.children():
        if isinstance(child, nn.ModuleList):
            for part in child:
                if isinstance(part, nn.Sequential):
                    yield from part
                elif type(part).forward is nn.Module.forward:  # a container without a forward of its own
                    yield from blocks(part)
                else:
                    yield part
        else:
            yield from blocks(child)

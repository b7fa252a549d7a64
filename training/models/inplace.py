"""LoRA (Hu et al. 2021) on layers that somebody else owns, put over their ``forward`` and taken off again.

The base weight stays in the number format that it is kept in. Autograd would keep every weight that was cast for the
forward pass; ``Frozen`` keeps none and has it cast again for the backward pass.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

CastWeight = Callable[[Any, torch.dtype, torch.device], AbstractContextManager[Tensor]]  # a layer's, for use in a with
Undo = Callable[[], None]

_CONVOLUTIONS = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}


class Lora(nn.Module):
    """alpha / rank * up(down(x)) beside one linear or convolutional layer, float32; it begins as nothing.

    While it is not ``on``, the layer is as it was.

    ``down`` is normal with standard deviation 1 / rank, as peft's "gaussian" and diffusers' scripts have it.
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
        """What is added to the layer's output for its input ``x``, in the number format of ``x``."""
        down, up = self.down.to(x.dtype), self.up.to(x.dtype)
        if self.convolution is None:
            return functional.linear(functional.linear(x, down), up) * self.scale
        convolve = _CONVOLUTIONS[down.ndim - 2]
        return convolve(convolve(x, down, **self.convolution), up) * self.scale


def is_linear(layer: Any) -> bool:
    """Whether ``layer`` is a linear one, quantised ones that are no nn.Linear included."""
    return isinstance(layer, nn.Linear) or (
        hasattr(layer, "in_features") and hasattr(layer, "out_features") and hasattr(layer, "weight")
    )


def is_layer(layer: Any) -> bool:
    """Whether a LoRA fits on ``layer``."""
    ungrouped = isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d)) and layer.groups == 1
    return is_linear(layer) or ungrouped


def _shape(layer: Any) -> tuple[int, int, tuple[int, ...]]:
    return layer.in_channels, layer.out_channels, tuple(layer.kernel_size)


class Frozen(torch.autograd.Function):
    """y = layer(x) with a gradient for x alone, and nothing kept of the layer's weight."""

    @staticmethod
    def forward(ctx, x: Tensor, layer: Any, run: Callable[..., Tensor], cast: CastWeight, arguments: tuple):
        """``run`` is the layer's own forward."""
        ctx.layer, ctx.cast, ctx.shape, ctx.dtype = layer, cast, x.shape, x.dtype
        return run(x, *arguments)

    @staticmethod
    def backward(ctx, *gradients: Tensor):
        """dy/dx of a linear layer or a convolution, from a weight that is cast again."""
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
    """Has ``layer`` run frozen, with ``lora`` beside it. Where nobody can ``cast`` its weight it runs twice instead."""
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
    """Has ``block`` compute its activations again in the backward pass.

    It gets copies of its inputs: blocks that add to them in place would else be run again on something else.
    """
    run = block.forward

    def again(*arguments: Any, **options: Any) -> Any:
        return run(*map(_copied, arguments), **{name: _copied(value) for name, value in options.items()})

    def forward(*arguments: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return run(*arguments, **options)
        return checkpoint(again, *arguments, use_reentrant=False, **options)

    return _replace_forward(block, forward)


def _copied(value: Any) -> Any:
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
    """Gives LayerNorms a copy; else blocks that then add to their input in place break its gradient."""

    def copied(module: nn.Module, inputs: tuple) -> tuple | None:
        x = inputs[0]
        return (x.clone(), *inputs[1:]) if torch.is_grad_enabled() and x.requires_grad else None

    norms = [module for module in network.modules() if isinstance(module, nn.LayerNorm)]
    return [norm.register_forward_pre_hook(copied).remove for norm in norms]


def blocks(network: nn.Module) -> Iterator[nn.Module]:
    """The outermost repeated parts: what the outermost ModuleLists hold, looking into what only holds others."""
    for child in network.children():
        if isinstance(child, nn.ModuleList):
            for part in child:
                if isinstance(part, nn.Sequential):
                    yield from part
                elif type(part).forward is nn.Module.forward:  # it has none
                    yield from blocks(part)
                else:
                    yield part
        else:
            yield from blocks(child)

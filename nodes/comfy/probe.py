"""One small backward pass before any training: where a network breaks autograd, say where."""

import torch
from torch import Tensor

from ...training.errors import UserError
from .codec import ComfyCodec
from .network import ComfyDenoiser

LATENTS = 8  # side


def probe(denoiser: ComfyDenoiser, codec: ComfyCodec, family: str) -> int:
    """How many LoRA layers a gradient does not reach. Without checkpointing, which would hide what is overwritten.

    Raises UserError that names the module at which the gradient ends.
    """
    generator = torch.Generator().manual_seed(0)
    device = denoiser.patcher.load_device
    x_t = torch.randn(1, *codec.shape(LATENTS * codec.factor), generator=generator).to(device)
    t = torch.tensor([len(denoiser.sigmas) // 2], device=device)
    reached: list[str] = []
    hooks = [
        module.register_forward_hook(_Reporter(name, reached))
        for name, module in denoiser.patcher.model.diffusion_model.named_modules()
        if name
    ]
    try:
        denoiser(x_t, t, [next(iter(denoiser.prompts))]).square().mean().backward()
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise UserError(
            f"{family} cannot be trained in place: the gradient breaks at {reached[-1] if reached else 'its output'} "
            f"({str(error).splitlines()[0][:150]})."
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    missing = [name for name, lora in denoiser.adapters.items() if lora.up.grad is None]
    denoiser.zero_grad(set_to_none=True)
    if len(missing) == len(denoiser.adapters):
        raise UserError(f"{family} cannot be trained in place: no gradient reaches any LoRA, {missing[0]} among them.")
    return len(missing)


class _Reporter:
    """A forward hook: notes the module when the gradient has come back to its output."""

    def __init__(self, name: str, reached: list[str]):
        self.name, self.reached = name, reached

    def __call__(self, module, inputs, output) -> None:
        if isinstance(output, Tensor) and output.requires_grad:
            output.register_hook(lambda _: self.reached.append(self.name))

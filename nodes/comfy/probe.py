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
    side = LATENTS * codec.factor
    x_t = torch.randn(1, *codec.shape(side, side), generator=generator).to(device)
    t = torch.tensor([len(denoiser.sigmas) // 2], device=device)
    reached: list[str] = []
    ended: list[str] = []
    hooks = [
        module.register_forward_hook(_Reporter(name, reached, ended))
        for name, module in denoiser.patcher.model.diffusion_model.named_modules()
        if name
    ]
    try:
        prediction = denoiser(x_t, t, [next(iter(denoiser.prompts))])
        if ended:
            raise UserError(f"{family} cannot be trained in place: {ended[0]} lets no gradient through.")
        prediction.square().mean().backward()
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
    """A forward hook: notes a module that ends the gradient, and one to whose output it has come back."""

    def __init__(self, name: str, reached: list[str], ended: list[str]):
        self.name, self.reached, self.ended = name, reached, ended

    def __call__(self, module, inputs, output) -> None:
        if not isinstance(output, Tensor):
            return
        if output.requires_grad:
            output.register_hook(lambda _: self.reached.append(self.name))
        elif any(isinstance(value, Tensor) and value.requires_grad for value in inputs):
            self.ended.append(self.name)

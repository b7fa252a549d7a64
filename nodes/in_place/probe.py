"""One small backward pass before any training: where a network breaks autograd, say where."""

import torch
from torch import Tensor

from ...training.errors import UserError
from .codec import ComfyCodec
from .network import ComfyDenoiser

LATENTS, SIDE = 8, 64  # the least side, in latents and in px
PATCHED = " Nodes have put patches on this MODEL, such as FreeU_V2: try it without."


def probe(denoiser: ComfyDenoiser, codec: ComfyCodec, family: str, resolution: int) -> int:
    """How many LoRA layers a gradient does not reach. Without checkpointing, which would hide what is overwritten.

    Raises UserError that names the module at which the gradient ends.
    """
    reached: list[str] = []
    ended: list[str] = []
    hooks = [
        module.register_forward_hook(_Reporter(name, reached, ended))
        for name, module in denoiser.patcher.model.diffusion_model.named_modules()
        if name
    ]
    try:
        prediction = _predicted(denoiser, codec, family, resolution)
        if ended:
            raise UserError(f"{family} cannot be trained in place: {ended[0]} lets no gradient through.")
        prediction.square().mean().backward()
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise UserError(
            f"{family} cannot be trained in place: the gradient breaks at {reached[-1] if reached else 'its output'} "
            f"({_first_line(error)}).{PATCHED if denoiser.patched else ''}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    missing = [name for name, lora in denoiser.adapters.items() if lora.up.grad is None]
    denoiser.zero_grad(set_to_none=True)
    if len(missing) == len(denoiser.adapters):
        raise UserError(f"{family} cannot be trained in place: no gradient reaches any LoRA, {missing[0]} among them.")
    return len(missing)


def _predicted(denoiser: ComfyDenoiser, codec: ComfyCodec, family: str, resolution: int) -> Tensor:
    """Of noise: little of it, or of ``resolution`` px for networks that take no less.

    Raises UserError where it takes none with a prompt alone.
    """
    device, prompt = denoiser.patcher.load_device, next(iter(denoiser.prompts))
    t = torch.tensor([len(denoiser.sigmas) // 2], device=device)
    for side in (max(LATENTS * codec.factor, SIDE), resolution):
        noise = torch.randn(1, *codec.shape(side, side), generator=torch.Generator().manual_seed(0))
        try:
            return denoiser(noise.to(device), t, [prompt])
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # noqa: BLE001, whatever a network says that misses something
            failed = error
    raise UserError(
        f"{family} cannot be trained in place: with a prompt and noise alone, as a training has them, its network "
        f"fails ({type(failed).__name__}: {_first_line(failed)})."
    ) from failed


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:150]


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

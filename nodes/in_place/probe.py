"""One small backward pass before training, to find the module at which a network breaks autograd."""

import torch
from torch import Tensor

from ...training.errors import UnsupportedModel, UserError
from .codec import ComfyCodec
from .network import ComfyDenoiser

LATENTS, SIDE = 8, 64  # smallest image: side in latents, side in px
PATCHED = " Nodes such as FreeU_V2 have patched this MODEL; try without them."


def probe(denoiser: ComfyDenoiser, codec: ComfyCodec, family: str, resolution: int) -> int:
    """Returns the number of LoRA layers that no gradient reaches. Needs checkpointing off: it hides in-place changes.

    Raises UserError, with the name of the module at which the gradient stops, if the network cannot be trained.
    """
    reached: list[str] = []
    ended: list[str] = []
    hooks = [
        module.register_forward_hook(_Reporter(name, reached, ended))
        for name, module in denoiser.patcher.model.diffusion_model.named_modules()
        if name
    ]
    try:
        prediction = _predict(denoiser, codec, family, resolution)
        if ended:
            raise UnsupportedModel(f"{family} cannot be trained in place: {ended[0]} does not pass gradients.")
        prediction.square().mean().backward()
    except RuntimeError as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise UnsupportedModel(
            f"{family} cannot be trained in place: the gradient breaks at {reached[-1] if reached else 'its output'} "
            f"({_first_line(error)}).{PATCHED if denoiser.patched else ''}"
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    missing = [name for name, lora in denoiser.adapters.items() if lora.up.grad is None]
    denoiser.zero_grad(set_to_none=True)
    if len(missing) == len(denoiser.adapters):
        raise UnsupportedModel(
            f"{family} cannot be trained in place: no gradient reaches any LoRA layer, such as {missing[0]}."
        )
    return len(missing)


def _predict(denoiser: ComfyDenoiser, codec: ComfyCodec, family: str, resolution: int) -> Tensor:
    """Predicts from noise of the smallest size, or of ``resolution`` px if the network fails on small images.

    Raises UserError if the network fails on both.
    """
    device, prompt = denoiser.patcher.load_device, next(iter(denoiser.prompts))
    t = torch.tensor([len(denoiser.sigmas) // 2], device=device)
    for side in (max(LATENTS * codec.factor, SIDE), resolution):
        noise = torch.randn(1, *codec.shape(side, side), generator=torch.Generator().manual_seed(0))
        try:
            return denoiser(noise.to(device), t, [prompt])
        except (UserError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # noqa: BLE001, networks raise anything if an input is missing
            failed = error
    raise UnsupportedModel(
        f"{family} cannot be trained in place: its network fails with only a prompt and noise as inputs "
        f"({type(failed).__name__}: {_first_line(failed)})."
    ) from failed


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0][:150]


class _Reporter:
    """A forward hook that records modules that stop the gradient, and modules whose output the gradient reached."""

    def __init__(self, name: str, reached: list[str], ended: list[str]):
        self.name, self.reached, self.ended = name, reached, ended

    def __call__(self, module, inputs, output) -> None:
        if not isinstance(output, Tensor):
            return
        if output.requires_grad:
            output.register_hook(lambda _: self.reached.append(self.name))
        elif any(isinstance(value, Tensor) and value.requires_grad for value in inputs):
            self.ended.append(self.name)

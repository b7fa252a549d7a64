"""One wrapper per prediction type: above it, nobody knows whether the UNet predicts noise or velocity.

x_t = alpha_t x_0 + sigma_t e, with alpha_t^2 = prod(1 - beta) and alpha_t^2 + sigma_t^2 = 1 (Ho et al. 2020, eq. 4).
"""

from typing import Any

import torch
from torch import Tensor, nn

from .text import Conditioning, TextEncoder

TIMESTEPS = 1000


class Denoiser(nn.Module):
    """(x_t, t, prompts) -> the UNet's prediction; subclasses turn it into x_0 and say what it should have been."""

    prediction_type: str
    unet: Any
    text: TextEncoder
    alphas_cumprod: Tensor

    def __init__(self, unet: nn.Module, text: TextEncoder):
        super().__init__()
        from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

        self.unet = unet
        self.text = text
        schedule = DDPMScheduler(TIMESTEPS, beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        self.register_buffer("alphas_cumprod", schedule.alphas_cumprod, persistent=False)

    def forward(self, x_t: Tensor, t: Tensor, prompts: list[str]) -> Tensor:
        """Prediction [B, C, h, w], float32, for latents ``x_t`` [B, C, h, w] at timesteps ``t`` [B], int64 0-999."""
        return self.predict(x_t, t, self.text.encode(prompts))

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """As ``forward``, from prompts that are encoded already."""
        dtype = self.unet.dtype
        added = None
        if conditioning.pooled is not None:
            side = 8 * x_t.shape[-1]
            size = torch.tensor(
                [8 * x_t.shape[-2], side, 0, 0, 8 * x_t.shape[-2], side], device=x_t.device, dtype=dtype
            )
            added = {"text_embeds": conditioning.pooled.to(x_t.device, dtype), "time_ids": size.repeat(len(x_t), 1)}
        hidden = conditioning.hidden.to(x_t.device, dtype)
        return self.unet(x_t.to(dtype), t, hidden, added_cond_kwargs=added).sample.to(x_t.dtype)

    def alpha_sigma(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """alpha_t and sigma_t, each [B, 1, 1, 1]."""
        squared = self.alphas_cumprod[t].view(-1, 1, 1, 1)
        return squared.sqrt(), (1 - squared).sqrt()

    def noised(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t."""
        alpha, sigma = self.alpha_sigma(t)
        return alpha * x_0 + sigma * noise

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What a perfect prediction would be."""
        raise NotImplementedError

    def predicted_x0(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean latents that ``prediction`` implies."""
        raise NotImplementedError


class EpsilonDenoiser(Denoiser):
    """Predicts the noise e (Ho et al. 2020)."""

    prediction_type = "epsilon"

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The noise that was added."""
        return noise

    def predicted_x0(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """(x_t - sigma e) / alpha."""
        alpha, sigma = self.alpha_sigma(t)
        return (x_t - sigma * prediction) / alpha


class VDenoiser(Denoiser):
    """Predicts the velocity v = alpha e - sigma x_0 (Salimans & Ho 2022, appendix D)."""

    prediction_type = "v_prediction"

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """alpha e - sigma x_0."""
        alpha, sigma = self.alpha_sigma(t)
        return alpha * noise - sigma * x_0

    def predicted_x0(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """alpha x_t - sigma v."""
        alpha, sigma = self.alpha_sigma(t)
        return alpha * x_t - sigma * prediction


DENOISERS = {denoiser.prediction_type: denoiser for denoiser in (EpsilonDenoiser, VDenoiser)}

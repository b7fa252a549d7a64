"""Stable Diffusion's UNet, from diffusers, as a denoiser."""

from typing import Any

import torch
from torch import Tensor, nn

from ..denoiser import Denoiser
from ..levels import TIMESTEPS, check_timestep_sampling, quantiles, variance_preserving
from .text import Conditioning, TextEncoder

SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}  # Stable Diffusion's


class UNetDenoiser(Denoiser):
    """diffusers' UNet on variance-preserving latents, predicting "epsilon" or "v_prediction".

    ``schedule`` holds DDPMScheduler's arguments for the betas.
    """

    unet: Any
    text: TextEncoder
    alphas_cumprod: Tensor
    timesteps: Tensor

    def __init__(
        self,
        unet: nn.Module,
        text: TextEncoder,
        prediction_type: str = "epsilon",
        schedule: dict[str, Any] | None = None,
    ):
        super().__init__()
        from diffusers.schedulers.scheduling_ddpm import DDPMScheduler

        self.unet, self.text, self.prediction_type = unet, text, prediction_type
        self.schedule = SCHEDULE | (schedule or {})
        self.register_buffer(
            "alphas_cumprod", DDPMScheduler(TIMESTEPS, **self.schedule).alphas_cumprod, persistent=False
        )
        self.register_buffer("timesteps", torch.arange(TIMESTEPS), persistent=False)
        self.levels = variance_preserving(self.alphas_cumprod, prediction_type)

    def sample_timesteps(self, sampling: str | None) -> None:
        """Sets how often training visits each noise level. Raises UserError for "shifted", which is for flow models."""
        check_timestep_sampling(sampling, self.prediction_type)
        device = self.alphas_cumprod.device
        self.timesteps = (quantiles(sampling or "uniform") * TIMESTEPS).long().to(device)
        self.levels = variance_preserving(self.alphas_cumprod[self.timesteps], self.prediction_type)

    def forward(self, x_t: Tensor, t: Tensor, prompts: list[str]) -> Tensor:
        """Prediction [B, C, h, w], float32, for latents ``x_t`` [B, C, h, w] at ``t``."""
        return self.predict(x_t, self.timesteps[t], self.text.encode(prompts))

    def predict(self, x_t: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """Prediction like ``forward``, for the network's own timesteps ``t`` [B] and encoded prompts."""
        dtype = self.unet.dtype
        added = None
        if conditioning.pooled is not None:
            height, width = 8 * x_t.shape[-2], 8 * x_t.shape[-1]
            size = torch.tensor([height, width, 0, 0, height, width], device=x_t.device, dtype=dtype)
            added = {"text_embeds": conditioning.pooled.to(x_t.device, dtype), "time_ids": size.repeat(len(x_t), 1)}
        hidden = conditioning.hidden.to(x_t.device, dtype)
        return self.unet(x_t.to(dtype), t, hidden, added_cond_kwargs=added).sample.to(x_t.dtype)

"""Pixels to latents and back, the same for AutoencoderKL and AutoencoderTiny."""

from typing import Any

import torch
from torch import Tensor, nn


class LatentCodec(nn.Module):
    """A VAE with latents scaled as the UNet expects them, at 1/8 of the image size. ``name`` is for messages."""

    vae: Any
    factor = 8  # px per latent

    def __init__(self, vae: nn.Module, name: str = "VAE"):
        super().__init__()
        self.vae, self.name = vae, name

    def shape(self, width: int, height: int) -> tuple[int, ...]:
        """Shape [C, h, w] of the latents of one image of ``width`` x ``height`` px."""
        return self.vae.config.latent_channels, height // self.factor, width // self.factor

    @property
    def is_tiny(self) -> bool:
        """Whether this is an AutoencoderTiny, which encodes to a point and not to a distribution."""
        return type(self.vae).__name__ == "AutoencoderTiny"

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B, C, H/8, W/8] of the latents of ``pixels`` [B, 3, H, W] in [-1, 1]."""
        pixels = pixels.to(self.vae.dtype)
        if self.is_tiny:
            latents = self.vae.encode(pixels).latents.float()
            return latents, torch.zeros_like(latents)
        posterior = self.vae.encode(pixels).latent_dist
        scale = self.vae.config.scaling_factor
        return posterior.mean.float() * scale, posterior.std.float() * scale

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels [B, 3, 8h, 8w], about [-1, 1], float32, of ``latents`` [B, C, h, w]. Gradients flow through."""
        if not self.is_tiny:
            latents = latents / self.vae.config.scaling_factor
        return self.vae.decode(latents.to(self.vae.dtype)).sample.to(torch.promote_types(latents.dtype, torch.float32))

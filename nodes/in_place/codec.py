"""ComfyUI's VAE as our codec, with gradient."""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ...training.models.inplace import blocks
from .weights import clone_static, leave_inference_mode, load_in_inference_mode


class ComfyCodec(nn.Module):
    """Pixels in [-1, 1] to latents as the network sees them, and back. The VAE stays the graph's own."""

    vae: Any
    patcher: Any

    def __init__(self, vae, latent_format):
        super().__init__()
        self.__dict__["vae"] = vae
        self.patcher = clone_static(vae.patcher)
        self.format: Any = copy.copy(latent_format)
        for name, value in vars(latent_format).items():
            if torch.is_tensor(value):
                setattr(self.format, name, value.clone())  # out of inference mode
        self.factor = vae.spacial_compression_decode()

    @property
    def network(self) -> Any:
        """ComfyUI's first stage model."""
        return self.patcher.model

    def shape(self, width: int, height: int) -> tuple[int, ...]:
        """Of the latents of one picture of so many px."""
        frames = (1,) if self.vae.latent_dim == 3 else ()
        return self.format.latent_channels, *frames, height // self.factor, width // self.factor

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Latents of ``pixels`` [B, 3, H, W], and 0 as their standard deviation: ComfyUI gives the mean alone."""
        load_in_inference_mode(self.patcher)
        x = self.vae.process_input((pixels + 1) / 2).to(self.vae.device, self.vae.vae_dtype)
        x = x.unsqueeze(2) if self.vae.latent_dim == 3 else x
        latents = self.format.process_in(self.network.encode(x).float())
        return latents, torch.zeros_like(latents)

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels [B, 3, H, W], about [-1, 1], float32, of ``latents``. Gradients flow through."""
        return self.pixels(self.format.process_out(latents))

    def pixels(self, latents: Tensor) -> Tensor:
        """The same of latents as ComfyUI's LATENT has them. VAE.decode would clamp, which ends the gradient."""
        decoded = self.network.decode(latents.to(self.vae.device, self.vae.vae_dtype)).float()
        return (decoded[:, :, 0] if decoded.ndim == 5 else decoded).to(latents.device)

    def blocks(self) -> Iterable[nn.Module]:
        """What of the decoder can run again in a backward pass: nothing where its parts remember earlier frames."""
        decoder = getattr(self.network, "decoder", None)
        return blocks(decoder) if decoder is not None and self.vae.latent_dim == 2 else ()

    def open(self) -> None:
        """Makes the weights, once they are loaded, fit for autograd."""
        leave_inference_mode(self.network)
        self.network.requires_grad_(False)

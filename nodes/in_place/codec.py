"""ComfyUI's VAE as a codec whose decoder passes gradients."""

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ...training.models.inplace import blocks
from .identity import file_name
from .weights import clone_static, leave_inference_mode, load_in_inference_mode


class ComfyCodec(nn.Module):
    """Encodes pixels in [-1, 1] to the latents that the network expects, and decodes them. Does not copy the VAE."""

    vae: Any
    patcher: Any

    def __init__(self, vae, latent_format):
        super().__init__()
        self.name = f"VAE {file_name(vae.patcher) or type(vae.first_stage_model).__name__}"
        self.__dict__["vae"] = vae
        self.patcher = clone_static(vae.patcher)
        self.format: Any = copy.copy(latent_format)
        for name, value in vars(latent_format).items():
            if torch.is_tensor(value):
                setattr(self.format, name, value.clone())  # leaves inference mode
        self.factor = vae.spacial_compression_decode()

    @property
    def network(self) -> Any:
        """ComfyUI's first stage model."""
        return self.patcher.model

    def shape(self, width: int, height: int) -> tuple[int, ...]:
        """Shape of the latents of one image: [C, h, w], or [C, 1, h, w] for a video model."""
        frames = (1,) if self.vae.latent_dim == 3 else ()
        return self.format.latent_channels, *frames, height // self.factor, width // self.factor

    @torch.no_grad()
    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents of ``pixels`` [B, 3, H, W]. The deviation is always 0."""
        load_in_inference_mode(self.patcher)
        x = self.vae.process_input((pixels + 1) / 2).to(self.vae.device, self.vae.vae_dtype)
        x = x.unsqueeze(2) if self.vae.latent_dim == 3 else x
        latents = self.format.process_in(self.network.encode(x).float())
        return latents, torch.zeros_like(latents)

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels [B, 3, H, W], about [-1, 1], float32, of ``latents``. Gradients flow through."""
        return self.pixels(self.format.process_out(latents))

    def pixels(self, latents: Tensor) -> Tensor:
        """Decodes latents in the scale of ComfyUI's LATENT. ComfyUI's VAE.decode clamps, which stops the gradient."""
        decoded = self.network.decode(latents.to(self.vae.device, self.vae.vae_dtype)).float()
        return (decoded[:, :, 0] if decoded.ndim == 5 else decoded).to(latents.device)

    def blocks(self) -> Iterable[nn.Module]:
        """The decoder blocks that can be checkpointed. None for video VAEs, whose blocks cache earlier frames."""
        decoder = getattr(self.network, "decoder", None)
        return blocks(decoder) if decoder is not None and self.vae.latent_dim == 2 else ()

    def open(self) -> None:
        """Prepares the weights for autograd. Call it after loading them."""
        leave_inference_mode(self.network)
        self.network.requires_grad_(False)

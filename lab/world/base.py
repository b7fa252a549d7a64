"""Trains the world's base model, a latent diffusion model like Stable Diffusion 1.x: python -m lab.world.base."""

import argparse
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from training.files import file_sha256, written
from training.models.levels import TIMESTEPS
from training.models.stable_diffusion.families import SD1
from training.models.stable_diffusion.text import TextEncoder
from training.models.stable_diffusion.unet import UNetDenoiser
from training.weights import read_pickle
from training.world.captions import Words, caption
from training.world.render.face import SIDE
from training.world.render.population import BASE_MODEL

from .autoencoder import Autoencoder
from .loop import FOLDER, best_device, run
from .pool import pixels, pool

SNR_LIMIT = 5.0  # of min-SNR weighting (Hang et al. 2023); small models learn several times faster with it
UNET = {
    "block_out_channels": (320,),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D",),
    "up_block_types": ("CrossAttnUpBlock2D",),
    "cross_attention_dim": 768,
    "attention_head_dim": 8,
    "sample_size": SIDE // 8,
}


class BaseModel(nn.Module):
    """The UNet, the text embeddings, and their loss."""

    def __init__(self):
        super().__init__()
        from diffusers.models.attention_processor import AttnProcessor
        from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

        self.words = Words()
        self.unet = UNet2DConditionModel(**UNET).to(memory_format=torch.channels_last)
        self.unet.set_attn_processor(AttnProcessor())  # at 64 positions faster than fused kernels, forward and backward
        self.schedule = [UNetDenoiser(nn.Identity(), TextEncoder(SD1, []))]  # in a list, so that it is no submodule

    def losses(self, x_0: Tensor, ages: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
        """Returns the weighted noise-prediction error on latents ``x_0`` [B, 4, 8, 8] of faces of ``ages`` [B]."""
        schedule = self.schedule[0]
        random = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        # Stratified timesteps: each batch covers all noise levels, which reduces gradient variance.
        t = ((torch.arange(len(x_0)) + torch.rand(len(x_0), generator=generator)) * TIMESTEPS / len(x_0)).long()
        noise = torch.randn(x_0.shape, generator=generator)
        snr = (schedule.levels.signal[t] / schedule.levels.noise[t]).square().view(-1, 1, 1, 1)
        device = next(self.unet.parameters()).device
        hidden = self.words([caption(float(age), random) for age in ages], random)
        prediction = self.unet(schedule.noised(x_0, noise, t).to(device), t.to(device), hidden).sample.float()
        error = (prediction - noise.to(device)).square() * (snr.clamp_max(SNR_LIMIT) / snr).to(device)
        return {"noise": error.mean()}


def latents(folder: Path, pictures: int) -> tuple[Tensor, Tensor]:
    """Returns latents [N, 4, 8, 8] of the base model's people and their ages [N]; cached per autoencoder."""
    device, encoder = best_device(), folder / "autoencoder.pt"
    file = folder / f"latents-{pictures}-{file_sha256(encoder)[:12]}.safetensors"
    faces = pool(folder / "pool", BASE_MODEL, pictures, 1, False, device)
    if not file.exists():
        module = Autoencoder()
        module.load_state_dict(read_pickle(encoder)["average"])
        module.to(device).eval()
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
            encoded = [
                module.vae.encode(pixels(part).to(device)).latents.float().cpu() for part in faces.pictures.split(64)
            ]
        with written(file) as temporary:
            save_file({"latents": torch.cat(encoded)}, temporary)
    return load_file(file)["latents"], faces.ages


def train(folder: Path, steps: int, batch_size: int, pictures: int, rate: float, seed: int) -> BaseModel:
    """Trains the UNet and text embeddings on latents of rendered faces."""
    x_0, ages = latents(folder, pictures)
    torch.manual_seed(seed)

    def loss(module: BaseModel, generator: torch.Generator) -> dict[str, Tensor]:
        chosen = torch.randint(len(x_0), (batch_size,), generator=generator)
        return module.losses(x_0[chosen], ages[chosen], generator)

    return run(BaseModel(), loss, folder / "base.pt", steps, rate, seed, ema=0.999)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder for images, latents, state and log")
    parser.add_argument("--steps", type=int, default=5500)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--pictures", type=int, default=24576)
    parser.add_argument("--rate", type=float, default=4e-4, help="highest learning rate")
    parser.add_argument("--seed", type=int, default=0)
    train(**vars(parser.parse_args()))

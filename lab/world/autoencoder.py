"""Trains the world's autoencoder, of TAESD's shape, on rendered faces: python -m lab.world.autoencoder."""

import argparse
import functools
import operator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from training.world.render.place import face_crops
from training.world.render.population import BASE_MODEL
from training.world.shipped import world_embedder

from .loop import FOLDER, best_device, run
from .pool import pixels, pool

NOISE = 0.08  # standard deviation added to latents, so that the decoder tolerates a denoiser's residual noise


class Autoencoder(nn.Module):
    """diffusers' AutoencoderTiny and its losses."""

    def __init__(self):
        super().__init__()
        from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

        self.vae = AutoencoderTiny()

    def losses(self, pictures: Tensor, noise: Tensor, face: "FaceLoss") -> dict[str, Tensor]:
        """Returns losses on ``pictures`` [B, 3, H, W] in [-1, 1]: colour, edges, faces, and unit variance of latents.

        Errors are squared, as absolute errors are smallest without small features such as eyes. Normalized latents need
        no scale between UNet and VAE: TAESD has none, and Stable Diffusion expects unit variance.
        """
        latents = self.vae.encode(pictures).latents.float()
        decoded = self.vae.decode(latents + NOISE * noise).sample.float()
        error = decoded - pictures
        slopes = error.diff(dim=-1).square().mean() + error.diff(dim=-2).square().mean()
        mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
        unit = (mean**2 + (std - 1) ** 2).mean()
        return {
            "colour": 10 * error.square().mean(),
            "edges": 5 * slopes,
            "unit": 0.1 * unit,
            **face(decoded, pictures),
        }


class FaceLoss:
    """Perceptual loss (Zhang et al. 2018) and identity loss on face crops, with the loss embedder.

    The scoring embedder stays unused. With pixel losses alone, the autoencoder blurs what identifies people.
    """

    def __init__(self, device: torch.device):
        self.network: Any = world_embedder("loss").network.to(device)

    def __call__(self, decoded: Tensor, pictures: Tensor) -> dict[str, Tensor]:
        """Returns both losses between images [B, 3, 64, 64] in [-1, 1]."""
        ours, vector = self._features(face_crops(decoded))
        with torch.no_grad():
            theirs, target = self._features(face_crops(pictures))
        errors = [(a - b).square().sum(1).mean() for a, b in zip(ours, theirs, strict=True)]
        features = functools.reduce(operator.add, errors)
        return {"features": 0.1 * features, "identity": 0.1 * (1 - (vector * target).sum(1)).mean()}

    def _features(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Returns normalised features after each level, and the embedding."""
        levels = self.network.levels(x)
        return [nn.functional.normalize(level.float(), dim=1) for level in levels], self.network.head(levels[-1])


def train(folder: Path, steps: int, batch_size: int, pictures: int, seed: int) -> nn.Module:
    """Trains on whole images, half of them mirrored; returns the AutoencoderTiny."""
    device = best_device()
    faces = pool(folder / "pool", BASE_MODEL, pictures, 1, False, device)
    face = FaceLoss(device)

    def loss(module: Autoencoder, generator: torch.Generator) -> dict[str, Tensor]:
        chosen = torch.randint(len(faces.pictures), (batch_size,), generator=generator)
        batch = pixels(faces.pictures[chosen])
        flips = torch.rand(batch_size, generator=generator) < 0.5
        batch[flips] = batch[flips].flip(-1)
        noise = torch.randn(batch_size, 4, batch.shape[-1] // 8, batch.shape[-1] // 8, generator=generator)
        return module.losses(batch.to(device, memory_format=torch.channels_last), noise.to(device), face)

    torch.manual_seed(seed)
    module = Autoencoder().to(memory_format=torch.channels_last)
    return run(module, loss, folder / "autoencoder.pt", steps, 8e-4, seed, ema=0.995).vae


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder for images, state and log")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--pictures", type=int, default=8192)
    parser.add_argument("--seed", type=int, default=0)
    train(**vars(parser.parse_args()))

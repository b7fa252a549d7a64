"""The world's autoencoder, of TAESD's shape, trained on drawn faces: python -m training.world.autoencoder."""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

from .loop import best_device, run
from .pool import Pool, pixels, pool
from .population import BASE_MODEL

FOLDER = Path.home() / "world-train"
CROP = 64  # px; a piece of a face teaches as much per multiplication as a whole one, and more faces fit into a batch
NOISE = 0.08  # standard deviation added to latents, so that the decoder forgives what a denoiser leaves


class Autoencoder(nn.Module):
    """Loss of diffusers' AutoencoderTiny on batches of pictures."""

    def __init__(self):
        super().__init__()
        from diffusers import AutoencoderTiny

        self.vae = AutoencoderTiny()

    def losses(self, pictures: Tensor, noise: Tensor) -> dict[str, Tensor]:
        """Of ``pictures`` [B, 3, H, W] in [-1, 1]: colours, edges, and latents of zero mean and unit variance.

        Errors are squared, since absolute ones are least where small features, such as eyes, are left out.
        The last makes a factor between UNet and VAE needless: TAESD has none, and Stable Diffusion wants unit variance.
        """
        latents = self.vae.encode(pictures).latents.float()
        drawn = self.vae.decode(latents + NOISE * noise).sample.float()
        error = drawn - pictures
        slopes = error.diff(dim=-1).square().mean() + error.diff(dim=-2).square().mean()
        mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
        unit = (mean**2 + (std - 1) ** 2).mean()
        return {"colour": 10 * error.square().mean(), "edges": 5 * slopes, "unit": 0.1 * unit}


def batch(faces: Pool, size: int, crop: int, generator: torch.Generator) -> Tensor:
    """Random square pieces [size, 3, crop, crop] of random pictures, half of them mirrored."""
    chosen = torch.randint(len(faces.pictures), (size,), generator=generator)
    side = faces.pictures.shape[-1]
    left, top = (torch.randint(0, (side - crop) // 8 + 1, (size,), generator=generator) * 8 for _ in range(2))
    flips = torch.rand(size, generator=generator) < 0.5
    pieces = [
        faces.pictures[index, :, y : y + crop, x : x + crop] for index, x, y in zip(chosen, left, top, strict=True)
    ]
    return pixels(torch.stack([piece.flip(-1) if flip else piece for piece, flip in zip(pieces, flips, strict=True)]))


def train(folder: Path, steps: int, whole_steps: int, batch_size: int, pictures: int, seed: int) -> nn.Module:
    """Trains on pieces, then on whole pictures; returns AutoencoderTiny."""
    device = best_device()
    faces = pool(folder / "pool", BASE_MODEL, pictures, 1, False, device)

    def loss_at(crop: int, size: int):
        def loss(module: Autoencoder, generator: torch.Generator) -> dict[str, Tensor]:
            seen = batch(faces, size, crop, generator)
            noise = torch.randn(size, 4, crop // 8, crop // 8, generator=generator)
            return module.losses(seen.to(device), noise.to(device))

        return loss

    torch.manual_seed(seed)
    module = Autoencoder().to(memory_format=torch.channels_last)
    pieces = run(module, loss_at(CROP, batch_size), folder / "pieces.pt", steps, 8e-4, seed, ema=0.995)
    whole = loss_at(faces.pictures.shape[-1], max(1, batch_size // 4))
    pieces.requires_grad_(True)
    return run(pieces, whole, folder / "autoencoder.pt", whole_steps, 4e-4, seed + 1, ema=0.995).vae


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where pictures, state and log are kept")
    parser.add_argument("--steps", type=int, default=8000, help="steps on pieces of pictures")
    parser.add_argument("--whole-steps", type=int, default=2000, help="steps on whole pictures")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=8192)
    parser.add_argument("--seed", type=int, default=0)
    options = vars(parser.parse_args())
    train(**options)

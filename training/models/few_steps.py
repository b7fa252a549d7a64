"""A drawing in a few steps up to the last one, with any denoiser: by its own noise levels and nothing else."""

from itertools import pairwise

import torch
from torch import Tensor

from .denoiser import Denoiser
from .levels import TIMESTEPS


@torch.no_grad()
def before_last_step(
    denoiser: Denoiser, noise: Tensor, prompts: list[str], steps: int, guidance: float
) -> tuple[Tensor, Tensor]:
    """x_t [B, C, ...] and t [B] from which the last of ``steps`` steps predicts the pictures.

    DDIM with eta = 0 (Song et al. 2021, eq. 12) from pure ``noise`` [B, C, ...] over evenly spaced quantiles of the
    levels that end above none (trailing; Lin et al. 2024). ``guidance`` is classifier-free, against the prompt "",
    unless it is 1.
    """
    count = len(prompts)
    quantiles = [step * TIMESTEPS // steps - 1 for step in range(steps, 0, -1)]
    t = torch.full((count,), quantiles[0], device=noise.device)
    x_t = denoiser.noised(torch.zeros_like(noise), noise, t)
    for now, following in pairwise(quantiles):
        t = torch.full_like(t, now)
        prediction = _guided(denoiser, x_t, t, prompts, guidance)
        x_0 = denoiser.predicted_x0(prediction, x_t, t)
        e = denoiser.levels.predicted_noise(x_0, x_t, t)
        t = torch.full_like(t, following)
        x_t = denoiser.noised(x_0, e, t)
    return x_t, t


def _guided(denoiser: Denoiser, x_t: Tensor, t: Tensor, prompts: list[str], guidance: float) -> Tensor:
    if guidance == 1:
        return denoiser(x_t, t, prompts)
    both = denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), [""] * len(prompts) + prompts)
    without, prompted = both.chunk(2)
    return without + guidance * (prompted - without)

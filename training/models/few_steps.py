"""Few-step sampling with any denoiser, using only its own noise levels. Stops before the last step."""

from itertools import pairwise

import torch
from torch import Tensor

from .denoiser import Denoiser
from .levels import TIMESTEPS


@torch.no_grad()
def before_last_step(
    denoiser: Denoiser, noise: Tensor, prompts: list[str], steps: int, guidance: float
) -> tuple[Tensor, Tensor]:
    """Returns x_t [B, C, ...] and t [B] just before the last of ``steps`` sampling steps.

    DDIM with eta = 0 (Song et al. 2021, eq. 12) from pure ``noise`` [B, C, ...], with "trailing" spacing: evenly spaced
    quantiles of the noise levels, starting at the highest (Lin et al. 2024). ``guidance`` is the scale of
    classifier-free guidance against the empty prompt; 1 turns it off.
    """
    count = len(prompts)
    quantiles = [step * TIMESTEPS // steps - 1 for step in range(steps, 0, -1)]
    t = torch.full((count,), quantiles[0], device=noise.device)
    x_t = denoiser.noised(torch.zeros_like(noise), noise, t)
    for current, following in pairwise(quantiles):
        t = torch.full_like(t, current)
        prediction = _guided_prediction(denoiser, x_t, t, prompts, guidance)
        x_0 = denoiser.predicted_x0(prediction, x_t, t)
        e = denoiser.levels.predicted_noise(x_0, x_t, t)
        t = torch.full_like(t, following)
        x_t = denoiser.noised(x_0, e, t)
    return x_t, t


def _guided_prediction(denoiser: Denoiser, x_t: Tensor, t: Tensor, prompts: list[str], guidance: float) -> Tensor:
    if guidance == 1:
        return denoiser(x_t, t, prompts)
    predictions = denoiser(torch.cat([x_t, x_t]), torch.cat([t, t]), [""] * len(prompts) + prompts)
    unconditional, conditional = predictions.chunk(2)
    return unconditional + guidance * (conditional - unconditional)

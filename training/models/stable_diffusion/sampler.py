"""Generates images from a model: the same noise for every prompt, so only the age differs."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..interface import Codec, Preset
from ..levels import TIMESTEPS
from .unet import UNetDenoiser

# With so few steps, previews add less than a tenth to the training time (see bench.py).
PREVIEW = Preset("DPMSolverMultistepScheduler", 8, 7.5)
PRESETS = {
    "fast": Preset("DPMSolverMultistepScheduler", 25, 7.5),  # DPM++ 2M (Lu et al. 2022)
    "paper": Preset("DDIMScheduler", 100, 10.0),  # eta 0 (Banerjee et al., IJCB 2023)
}


def _scheduler(name: str, prediction_type: str, schedule: dict[str, Any]):
    import diffusers

    settings = schedule | {"steps_offset": 1}
    if schedule.get("rescale_betas_zero_snr"):
        settings["timestep_spacing"] = "trailing"  # otherwise sampling would not start at pure noise
    if name == "DDIMScheduler":
        settings |= {"clip_sample": False, "set_alpha_to_one": False}
    return getattr(diffusers, name)(num_train_timesteps=TIMESTEPS, prediction_type=prediction_type, **settings)


@torch.no_grad()
def sample(
    denoiser: UNetDenoiser,
    codec: Codec,
    prompts: list[str],
    noise: Tensor,
    preset: Preset,
    negative_prompt: str = "",
    batch_size: int = 2,
    progress: Callable[[], None] = lambda: None,
) -> Tensor:
    """Generates images [B, 3, H, W] in [-1, 1], float32 on the CPU: one per prompt, all from ``noise`` [1, C, h, w].

    Classifier-free guidance (Ho & Salimans 2022): e = e_negative + guidance (e_prompt - e_negative). ``progress`` is
    called after each step of each batch; an exception from it stops the sampling.
    """
    images = []
    device, dtype = denoiser.unet.device, denoiser.unet.dtype
    for start in range(0, len(prompts), batch_size):
        batch = prompts[start : start + batch_size]
        conditioning = denoiser.text.encode([negative_prompt] * len(batch) + batch)
        scheduler = _scheduler(preset.scheduler, denoiser.prediction_type, denoiser.schedule)
        scheduler.set_timesteps(preset.steps, device=device)
        latents = noise.to(device, torch.promote_types(dtype, torch.float32)).repeat(len(batch), 1, 1, 1)
        latents = latents * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            scaled = scheduler.scale_model_input(latents, t)
            prediction = denoiser.predict(scaled.repeat(2, 1, 1, 1), t.repeat(2 * len(batch)), conditioning)
            negative, positive = prediction.chunk(2)
            guided = negative + preset.guidance * (positive - negative)
            latents = scheduler.step(guided, t, latents).prev_sample
            progress()
        images.append(torch.cat([codec.decode(latent[None]).cpu() for latent in latents]))
    return torch.cat(images).clamp(-1, 1)

"""Sampler settings for previews: few steps, and the guidance that suits the model."""

import re
from dataclasses import dataclass
from typing import Any

from .identity import file_name, guidance_distilled


@dataclass(frozen=True)
class PreviewSampler:
    """Settings of ComfyUI's sampler."""

    sampler: str
    scheduler: str
    steps: int
    guidance: float


# Distilled models need few steps and no guidance. Distilled Klein and Z-Image have the same architecture as their base
# models, so only the file name tells them apart.
DISTILLED_STEPS = {r"schnell|klein(?!.*base)": 4, r"turbo|lightning|hyper|dmd|lcm": 8}


def preview_sampler(patcher: Any, prediction_type: str) -> PreviewSampler:
    """Preview settings for a MODEL that predicts ``prediction_type``."""
    flow = prediction_type == "flow"
    sampler, scheduler = ("euler", "simple") if flow else ("dpmpp_2m", "sgm_uniform")
    names = f"{type(patcher.model.model_config).__name__} {file_name(patcher)}".lower()
    if steps := next((steps for words, steps in DISTILLED_STEPS.items() if re.search(words, names)), None):
        return PreviewSampler("euler", scheduler, steps, 1.0)
    if guidance_distilled(patcher):
        return PreviewSampler(sampler, scheduler, 12, 1.0)
    return PreviewSampler(sampler, scheduler, 12, 4.0) if flow else PreviewSampler(sampler, scheduler, 8, 7.5)

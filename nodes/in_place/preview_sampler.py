"""How previews are drawn: in few steps, with the guidance that the model is made for."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class PreviewSampler:
    """Settings of ComfyUI's sampler."""

    sampler: str
    scheduler: str
    steps: int
    guidance: float


# Distilled models draw in a few steps without guidance. Klein's and Z-Image's have their base's own architecture, so
# nothing but the file's name tells them apart.
DISTILLED_STEPS = {r"schnell|klein(?!.*base)": 4, r"turbo|lightning|hyper|dmd|lcm": 8}


def preview_sampler(patcher: Any, prediction_type: str) -> PreviewSampler:
    """For a MODEL that predicts ``prediction_type``."""
    flow = prediction_type == "flow"
    sampler, scheduler = ("euler", "simple") if flow else ("dpmpp_2m", "sgm_uniform")
    said = f"{type(patcher.model.model_config).__name__} {_file_name(patcher)}".lower()
    if steps := next((steps for words, steps in DISTILLED_STEPS.items() if re.search(words, said)), None):
        return PreviewSampler("euler", scheduler, steps, 1.0)
    settings = getattr(patcher.model.diffusion_model, "params", None)
    if getattr(settings, "guidance_embed", False):  # it reads its guidance
        return PreviewSampler(sampler, scheduler, 12, 1.0)
    return PreviewSampler(sampler, scheduler, 12, 4.0) if flow else PreviewSampler(sampler, scheduler, 8, 7.5)


def _file_name(patcher: Any) -> str:
    """Of the file that a core loader opened; nothing where ComfyUI does not know it."""
    _, arguments, *_ = getattr(patcher, "cached_patcher_init", None) or (None, ())
    return Path(arguments[0]).name if arguments and isinstance(arguments[0], (str, Path)) else ""

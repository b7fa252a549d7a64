"""Previews of the subject at six ages, always from the same noise, so that only the training changes them."""

import warnings
from collections.abc import Callable

from PIL import Image

from ..ages import AGE_CLASSES, SAMPLING_PROMPT, fill_prompt
from ..config import TrainingConfig
from ..dreambooth.trainer import Trainer
from ..models.interface import Preset
from ..pictures.photos import blank, to_image


def _prompts(config: TrainingConfig) -> list[str]:
    words = {"token": config.token, "class_word": config.class_word}
    return [fill_prompt(SAMPLING_PROMPT, age=age, **words) for age in AGE_CLASSES]


def preview_prompts(config: TrainingConfig) -> list[str]:
    """The prompts that generate_ages needs once the text encoder is released."""
    return ["", *_prompts(config)]


def generate_ages(
    trainer: Trainer,
    progress: Callable[[], None] = lambda: None,
    seed: int | None = None,
    preset: Preset | None = None,
    batch_size: int = 2,
) -> list[Image.Image]:
    """One image per age class at the training resolution, from the noise of ``seed`` (default: the training's).

    Uses the model's preview sampler without ``preset``. An exception from ``progress`` ends the sampling.
    """
    seed = trainer.config.seed if seed is None else seed
    pixels = trainer.model.generate(
        _prompts(trainer.config), trainer.data.resolution, seed, preset, batch_size, progress
    )
    if blanks := sum(map(blank, pixels)):
        warnings.warn(
            f"{blanks} of {len(pixels)} previews are a single colour: the model generates no usable images.",
            stacklevel=1,
        )
    return [to_image(image) for image in pixels]

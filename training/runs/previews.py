"""The subject at six ages, drawn while it trains: always from one noise, so that only the training changes them."""

import warnings
from collections.abc import Callable

from PIL import Image

from ..ages import AGE_CLASSES, SAMPLING_PROMPT, fill_prompt
from ..config import TrainingConfig
from ..dreambooth.trainer import Trainer
from ..models.interface import Preset
from ..pictures.photos import blank, to_image


def _prompts(config: TrainingConfig) -> list[str]:
    named = {"token": config.token, "class_word": config.class_word}
    return [fill_prompt(SAMPLING_PROMPT, age=age, **named) for age in AGE_CLASSES]


def preview_prompts(config: TrainingConfig) -> list[str]:
    """What ``build_trainer`` must be given as ``extra_prompts`` so that draw_ages can work under frozen text."""
    return ["", *_prompts(config)]


def draw_ages(
    trainer: Trainer,
    progress: Callable[[], None] = lambda: None,
    seed: int | None = None,
    preset: Preset | None = None,
    batch_size: int = 2,
) -> list[Image.Image]:
    """One picture an age class at the training resolution, from the noise of ``seed`` (default: the training's).

    Drawn in the model's quick way where there is no ``preset``. An exception that ``progress`` raises ends the drawing.
    """
    seed = trainer.config.seed if seed is None else seed
    pixels = trainer.model.draw(_prompts(trainer.config), trainer.data.resolution, seed, preset, batch_size, progress)
    if bad := sum(map(blank, pixels)):
        warnings.warn(
            f"{bad} of {len(pixels)} previews show one colour all over: the model draws no pictures.", stacklevel=1
        )
    return [to_image(picture) for picture in pixels]

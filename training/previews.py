"""The subject at six ages, drawn while it trains: always from one noise, so that only the training changes them."""

from collections.abc import Callable

from PIL import Image

from .ages import AGE_CLASSES, SAMPLING_PROMPT, fill_prompt
from .config import TrainingConfig
from .photos import to_image
from .sampler import Preset, one_noise, sample
from .trainer import Trainer

# Few steps: a look every 250 training steps then costs about a tenth of the training.
PREVIEW = Preset("DPMSolverMultistepScheduler", 10, 7.5)


def age_prompts(config: TrainingConfig) -> list[str]:
    """What asks for the subject at each of the six age classes."""
    named = {"token": config.token, "class_word": config.class_word}
    return [fill_prompt(SAMPLING_PROMPT, age=age, **named) for age in AGE_CLASSES]


def preview_prompts(config: TrainingConfig) -> list[str]:
    """What ``build_trainer`` must be given as ``extra_prompts`` so that draw_ages can work under frozen text."""
    return ["", *age_prompts(config)]


def draw_ages(trainer: Trainer, progress: Callable[[], None] = lambda: None) -> list[Image.Image]:
    """One picture an age class at the training resolution. An exception that ``progress`` raises ends the drawing."""
    noise = one_noise(trainer.model, trainer.data.resolution, trainer.config.seed)
    pixels = sample(trainer.model, age_prompts(trainer.config), noise, PREVIEW, progress=progress)
    return [to_image(picture) for picture in pixels]

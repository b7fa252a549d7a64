"""Trains subjects and saves a row of numbers at each evaluated step."""

import functools
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from training.ages import AGE_CLASSES, fill_prompt
from training.cast.queue import Queue, in_turn
from training.dreambooth.trainer import Progress, Trainer
from training.faces.age_estimators import CropAgeEstimator
from training.pictures.photos import to_image
from training.world.recipe import PRESET, regularization_set, subject_set, trainer_of
from training.world.shipped import age_estimator

from .plan import TRUE, Size, Trial
from .trials import jury, measure_missing, true_pictures


def measure_all(
    trials: list[Trial], file: Path, size: Size, progress: Callable[[], None], queue: Queue = in_turn
) -> None:
    """Runs the ``trials`` that are missing in ``file``, and saves one row per step on their paths."""
    items = {trial.name: trial for trial in trials}
    names = {name: [f"{name}/{step}" for step in _steps(trial, size)] for name, trial in items.items()}
    measure_missing(file, items, names, functools.partial(_measured, size=size), progress, queue)


def _steps(trial: Trial, size: Size) -> tuple[int, ...]:
    return size.path if trial.variant.trained else (0,)


def _measured(trial: Trial, size: Size) -> list[dict]:
    subject, rows = subject_set(trial.subject), []
    judges = jury(size.noises, "age-judge")  # the reward uses the other age estimator

    def keep_row(step: int, pictures: list[Image.Image], others: list[Image.Image]) -> None:
        labels = {"variant": trial.variant.name, "subject": trial.subject, "seed": trial.seed, "step": step}
        leakage = {"others": judges.alike(others, subject)} if others else {}
        rows.append({"trial": f"{trial.name}/{step}"} | labels | judges.measure(pictures, subject) | leakage)

    if trial.variant == TRUE:
        keep_row(0, true_pictures(trial.subject, len(size.noises)), [])
        return rows
    config = trial.variant.config(trial.seed, size.path[-1])
    prompts = [fill_prompt(config.regularization_prompt, age=age) for age in AGE_CLASSES]
    trainer = trainer_of(
        subject,
        regularization_set() if trial.variant.regularized else None,
        config,
        estimator=CropAgeEstimator(age_estimator()) if config.reward_every else None,
        extra_prompts=prompts,
    )

    def evaluate(progress: Progress | None = None) -> None:
        step = progress.step if progress else 0
        if step in _steps(trial, size):
            keep_row(step, judges.generate(trainer), _others(trainer, prompts, size.noises))

    if trial.variant.trained:
        trainer.run(callbacks=[evaluate])
    else:
        evaluate()
    return rows


def _others(trainer: Trainer, prompts: list[str], noises: tuple[int, ...]) -> list[Image.Image]:
    """Generates other people at the six ages, from the same noises as the subject."""
    side = trainer.data.resolution
    return [
        to_image(picture)
        for seed in noises
        for picture in trainer.model.generate(prompts, side, seed, PRESET, 6, lambda: None)
    ]

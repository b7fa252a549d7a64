"""Parts for training tests: real modules at toy size, and random images with a face at a fixed place."""

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from tests.tiny import tiny_checkpoint
from training.ages import AGE_CLASSES
from training.config import TrainingConfig
from training.data.dataset import RegularizationSet, SubjectSet
from training.dreambooth.trainer import Callback, Trainer
from training.faces.crops import SquareCrop
from training.faces.embedders import UNKNOWN
from training.faces.find import Face
from training.models.stable_diffusion.checkpoint import model_from_state_dict
from training.models.stable_diffusion.families import SD1, Family
from training.models.stable_diffusion.model import Model
from training.pictures.photos import Photo
from training.runs.build import FaceNetworks, build_trainer
from training.runs.evaluations import Judge, PreviewPlan
from training.runs.files import FinishedRun, RunFiles, finished, write_subject
from training.runs.previewer import Previewer
from training.runs.session import finish
from training.runs.state import StateFile, StateIsAhead

SIDE = 64  # px
FACE = Face((16.0, 12.0, 44.0, 48.0))
SHAPED = ((200, 400), (300, 300), (220, 400), (400, 200))
SHAPED_SIDE = 192  # px; the smallest side that allows more than one shape
NO_PREVIEWS = PreviewPlan(0)


class ToyEmbedder(nn.Module):
    """A random two-layer network that stands in for FaceNet."""

    name, crop, facts = "toy", SquareCrop(32), UNKNOWN

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.first = nn.Parameter(torch.randn(8, 3, 5, 5, generator=generator) / 9, requires_grad=False)
        self.second = nn.Parameter(torch.randn(6, 8 * 7 * 7, generator=generator) / 20, requires_grad=False)

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(nn.functional.conv2d(crops, self.first, stride=4))
        return nn.functional.normalize(hidden.flatten(1) @ self.second.T, dim=1)


def picture(seed: int) -> Image.Image:
    """A random image of SIDE x SIDE px."""
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((SIDE, SIDE))


def known_place(image: Image.Image) -> list[Face]:
    """A face detector that finds FACE in every image."""
    return [FACE]


def tiny_model(family: Family = SD1, prediction_type: str | None = None, tiny_vae: bool = False) -> Model:
    return model_from_state_dict(tiny_checkpoint(family, tiny_vae=tiny_vae), "tiny.safetensors", prediction_type)


def subject_set(count: int = 3, faces: list[Face | None] | None = None) -> SubjectSet:
    return SubjectSet([Photo(f"{n}.png", picture(n)) for n in range(count)], faces or [FACE] * count, [])


def shaped_subject() -> SubjectSet:
    """Four photos that have three shapes at SHAPED_SIDE."""
    photos = [Photo(f"{n}.png", picture(n).resize(size)) for n, size in enumerate(SHAPED)]
    return SubjectSet(photos, [Face((70.0, 60.0, 130.0, 130.0))] * len(photos), [])


def regularization_set(count: int = 6) -> RegularizationSet:
    ages = [AGE_CLASSES[n % 6] for n in range(count)]
    return RegularizationSet([Photo(f"{age}_{n}.png", picture(100 + n)) for n, age in enumerate(ages)], ages)


def tiny_trainer(
    model: Model | None = None,
    regularized: bool = True,
    previews: PreviewPlan | None = None,
    subject: SubjectSet | None = None,
    say: Callable[..., None] = lambda *sentences: None,
    **options,
) -> Trainer:
    options = {"resolution": SIDE, "crop": "photo", "max_train_steps": 3, "learning_rate": 1e-3} | options
    return build_trainer(
        model or tiny_model(),
        subject or subject_set(),
        regularization_set() if regularized else None,
        TrainingConfig(**options),
        FaceNetworks(known_place, ToyEmbedder()),
        previews=previews,
        say=say,
    )


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: weight.detach().clone() for name, weight in trainer.trainable.items()}


def run(trainer: Trainer, state: Path | None = None, callbacks: Iterable[Callback] = ()) -> None:
    """Trains, with the state saved to ``state`` if given."""
    trainer.run(StateFile(trainer, state).save if state else lambda diverged: None, callbacks)


def save_state(trainer: Trainer, state: Path) -> None:
    StateFile(trainer, state).save()


def resume(trainer: Trainer, state: Path) -> list[str]:
    return StateFile(trainer, state).resume()


def run_to_the_end(
    trainer: Trainer,
    folder: Path,
    plan: PreviewPlan = NO_PREVIEWS,
    judge: Judge | None = None,
    callbacks: Iterable[Callback] = (),
    show: Callable[..., object] = lambda images, evaluation: None,
) -> FinishedRun:
    """Returns the run if it is finished; otherwise resumes or trains it, as the nodes do."""
    files = RunFiles(folder / f"{trainer.config.max_train_steps}_steps.safetensors")
    if run := finished(files):
        return run
    if files.state.is_file():
        with contextlib.suppress(StateIsAhead):
            resume(trainer, files.state)
    previewer = Previewer(trainer, plan, folder, judge, lambda path: write_subject(trainer, path, torch.float16), show)
    return finish(trainer, files, previewer, callbacks, keeps_state=trainer.config.method == "lora")

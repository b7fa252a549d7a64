"""One held-out subject of the world: trained as any subject is, drawn at the six ages, and judged."""

import functools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ..config import TrainingConfig
from ..dataset import RegularizationSet, SubjectSet, find_faces
from ..faces import FaceDetector
from ..photos import Photo, to_tensor
from ..previews import draw_ages, preview_prompts
from ..run import build_trainer
from ..sampler import Preset
from ..trainer import Trainer
from ..vae import LatentCodec
from .drawing import SIDE
from .export import base_model
from .photos import age_set, photos
from .place import face_crops, known_place
from .shipped import age_estimator, world_embedder

YEARS = 28.0  # of a subject in its photos
PRESET = Preset("DPMSolverMultistepScheduler", 15, 6.0)
SETTINGS = {  # chosen on people who are in no test; a LoRA learns them as fast, but keeps fewer of the ages
    "resolution": SIDE,
    "method": "full",
    "train_text_encoder": False,  # its layers are zeros
    "learning_rate": 2.5e-4,
    "train_batch_size": 4,
    "random_flip": False,  # these faces are not symmetric
}


def subject_set(person: int, count: int = 8, detector: FaceDetector = known_place) -> SubjectSet:
    """``count`` photos of the held-out ``person`` at 28 years, with the faces that ``detector`` finds."""
    pictures = enumerate(photos(person, YEARS, count), 1)
    return find_faces([Photo(f"{number:02}.png", picture) for number, picture in pictures], detector)


@functools.cache  # the study asks for it in every trial
def regularization_set(per_class: int = 20) -> RegularizationSet:
    """Other people, ``per_class`` of each age class."""
    named = [
        (Photo(f"{age}_{number:04}.png", picture), age)
        for age, faces in age_set(per_class).items()
        for number, picture in enumerate(faces, 1)
    ]
    return RegularizationSet(*map(list, zip(*named, strict=True)))


def trainer_of(
    subject: SubjectSet,
    regularization: RegularizationSet | None,
    config: TrainingConfig,
    state_file: Path | None = None,
    tiny_vae: LatentCodec | None = None,
) -> Trainer:
    """What trains ``subject`` on the world's base model; its identity loss reads faces with the loss embedder.

    ``tiny_vae`` decodes them instead of the model's own autoencoder.
    """
    return build_trainer(
        base_model(),
        subject,
        regularization,
        config,
        state_file,
        embedder=world_embedder("loss"),
        detector=known_place,
        tiny_vae=tiny_vae,
        extra_prompts=preview_prompts(config),
    )


def draw_six(trainer: Trainer, seed: int) -> Tensor:
    """The six ages [6, 3, 64, 64] in [-1, 1] from the noise of ``seed``, as 8-bit pictures hold them."""
    return torch.cat([to_tensor(picture) for picture in draw_ages(trainer, seed=seed, preset=PRESET, batch_size=6)])


@dataclass(frozen=True)
class Judges:
    """The embedder that never trained anybody here, and the age estimator."""

    embedder: torch.nn.Module
    estimator: torch.nn.Module

    @classmethod
    def shipped(cls) -> "Judges":
        """Those that come with the project."""
        return cls(world_embedder("score"), age_estimator())

    @torch.no_grad()
    def vectors(self, pictures: Tensor) -> Tensor:
        """Unit vectors [N, D] of the faces in ``pictures`` [N, 3, 64, 64] in [-1, 1]."""
        return self.embedder(face_crops(pictures))

    @torch.no_grad()
    def years(self, pictures: Tensor) -> list[float]:
        """Estimated years of each of ``pictures`` [N, 3, 64, 64]."""
        return self.estimator(face_crops(pictures)).tolist()


def stacked(subject: SubjectSet) -> Tensor:
    """The photos [N, 3, 64, 64] in [-1, 1]."""
    return torch.cat([to_tensor(photo.image()) for photo in subject.photos])

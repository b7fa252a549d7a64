"""How the demo and the study train, generate and evaluate a person of the synthetic world."""

import functools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from PIL import Image

from ..config import TrainingConfig
from ..data.dataset import RegularizationSet, SubjectSet, find_faces
from ..dreambooth.trainer import Trainer
from ..faces.age_estimators import AgeEstimator, CropAgeEstimator
from ..faces.find import FaceDetector
from ..faces.observation import Observer
from ..models.interface import Preset
from ..pictures.photos import Photo
from ..runs.build import FaceNetworks, build_trainer
from ..runs.evaluations import PreviewPlan
from ..runs.previews import generate_ages
from .model import base_model
from .render.face import SIDE
from .render.photos import age_set, photos
from .render.place import known_place
from .shipped import age_estimator, world_embedder

YEARS = 28.0  # age of a subject in its photos
PRESET = Preset("DPMSolverMultistepScheduler", 15, 6.0)
RECIPE = TrainingConfig(  # chosen on people outside all tests; a LoRA learns as fast, but gets fewer ages right
    resolution=SIDE,
    method="full",
    train_text_encoder=False,  # all its layers are zero
    learning_rate=2.5e-4,
    train_batch_size=4,
    random_flip=False,  # these faces are not symmetric
)
REWARD: dict[str, Any] = {  # chosen on the same people
    "loss": "none",
    "reward_every": 3,
    "reward_start": 0.0,
    "reward_pictures": 4,
    "reward_steps": 4,
    "reward_identity": 1.0,
    "reward_age": 3.0,
}
SHOWN = replace(RECIPE, **REWARD, lr_scheduler="cosine")  # for demo images: a constant rate ends in distorted faces


def subject_set(person: int, count: int = 8, detector: FaceDetector = known_place) -> SubjectSet:
    """Returns ``count`` photos of the held-out ``person`` at 28 years, with the faces that ``detector`` finds."""
    pictures = enumerate(photos(person, YEARS, count), 1)
    return find_faces([Photo(f"{number:02}.png", picture) for number, picture in pictures], detector)


@functools.cache  # every trial of the study uses it
def regularization_set(per_class: int = 20) -> RegularizationSet:
    """Returns other people, ``per_class`` per age class, in the order in which the command line reads their files."""
    photos_and_ages = [
        (Photo(f"{age}_{number:04}.png", picture), age)
        for age, faces in sorted(age_set(per_class).items())
        for number, picture in enumerate(faces, 1)
    ]
    return RegularizationSet([photo for photo, _ in photos_and_ages], [age for _, age in photos_and_ages])


def trainer_of(
    subject: SubjectSet,
    regularization: RegularizationSet | None,
    config: TrainingConfig,
    estimator: AgeEstimator | None = None,
    extra_prompts: Iterable[str] = (),
) -> Trainer:
    """Returns a trainer for ``subject`` on the world's base model; its identity loss uses the loss embedder.

    ``estimator`` scores the ages of the reward, ``extra_prompts`` are those of other images that will be generated.
    """
    networks = FaceNetworks(known_place, world_embedder("loss"), estimator)
    return build_trainer(base_model(), subject, regularization, config, networks, PreviewPlan(0), extra_prompts)


def generate_six(trainer: Trainer, seed: int) -> list[Image.Image]:
    """Generates the six ages from the noise of ``seed``."""
    return generate_ages(trainer, seed=seed, preset=PRESET, batch_size=6)


def synthetic_observer(ages: str = "age") -> Observer:
    """Returns an observer with the scoring embedder, which no training here uses, and the age estimator ``ages``."""
    return Observer(known_place, world_embedder("score"), CropAgeEstimator(age_estimator(ages)))

"""How a person of the drawn world is trained, drawn and judged, in the demo and in the study alike."""

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
from ..runs.looks import LookPlan
from ..runs.previews import draw_ages
from .model import base_model
from .render.face import SIDE
from .render.photos import age_set, photos
from .render.place import known_place
from .shipped import age_estimator, world_embedder

YEARS = 28.0  # of a subject in its photos
PRESET = Preset("DPMSolverMultistepScheduler", 15, 6.0)
RECIPE = TrainingConfig(  # chosen on people who are in no test; a LoRA learns them as fast, but keeps fewer of the ages
    resolution=SIDE,
    method="full",
    train_text_encoder=False,  # its layers are zeros
    learning_rate=2.5e-4,
    train_batch_size=4,
    random_flip=False,  # these faces are not symmetric
)
REWARD: dict[str, Any] = {  # chosen likewise
    "loss": "none",
    "reward_every": 3,
    "reward_start": 0.0,
    "reward_pictures": 4,
    "reward_steps": 4,
    "reward_identity": 1.0,
    "reward_age": 3.0,
}
SHOWN = replace(RECIPE, **REWARD, lr_scheduler="cosine")  # for pictures to be looked at: it distorts no face at its end


def subject_set(person: int, count: int = 8, detector: FaceDetector = known_place) -> SubjectSet:
    """``count`` photos of the held-out ``person`` at 28 years, with the faces that ``detector`` finds."""
    pictures = enumerate(photos(person, YEARS, count), 1)
    return find_faces([Photo(f"{number:02}.png", picture) for number, picture in pictures], detector)


@functools.cache  # the study asks for it in every trial
def regularization_set(per_class: int = 20) -> RegularizationSet:
    """Other people, ``per_class`` of each age class, in the order of their files: as the command line reads them."""
    named = [
        (Photo(f"{age}_{number:04}.png", picture), age)
        for age, faces in sorted(age_set(per_class).items())
        for number, picture in enumerate(faces, 1)
    ]
    return RegularizationSet(*map(list, zip(*named, strict=True)))


def trainer_of(
    subject: SubjectSet,
    regularization: RegularizationSet | None,
    config: TrainingConfig,
    estimator: AgeEstimator | None = None,
    extra_prompts: Iterable[str] = (),
) -> Trainer:
    """What trains ``subject`` on the world's base model; its identity loss reads faces with the loss embedder.

    ``estimator`` scores the ages of the reward, ``extra_prompts`` are those of other images that will be generated.
    """
    networks = FaceNetworks(known_place, world_embedder("loss"), estimator)
    return build_trainer(base_model(), subject, regularization, config, networks, LookPlan(0), extra_prompts)


def draw_six(trainer: Trainer, seed: int) -> list[Image.Image]:
    """The six ages from the noise of ``seed``."""
    return draw_ages(trainer, seed=seed, preset=PRESET, batch_size=6)


def drawn_observer(ages: str = "age") -> Observer:
    """The embedder that never trained anybody here, and the age estimator ``ages``."""
    return Observer(known_place, world_embedder("score"), CropAgeEstimator(age_estimator(ages)))

"""One trial: train a subject one way, draw it, and compare."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from ..age_estimator import class_middle
from ..ages import AGE_CLASSES
from ..dataset import SubjectSet
from ..faces import CROP_SCALE, Face
from ..files import written
from ..losses import decode_probability
from ..photos import to_tensor
from ..trainer import Trainer
from ..world.drawing import draw
from ..world.photos import photos
from ..world.place import known_place
from ..world.population import some_ages
from ..world.traits import identities, views
from ..world.trial import Judges, draw_six, regularization_set, stacked, subject_set, trainer_of
from .plan import OTHERS, TRUE, Size, Trial
from .student import student


def read(file: Path) -> dict[str, dict]:
    """The rows of a study so far, by trial."""
    lines = file.read_text().splitlines() if file.is_file() else []
    return {row["trial"]: row for row in map(json.loads, lines)}


def run(plan: list[Trial], file: Path, size: Size, progress: Callable[[], None]) -> None:
    """Runs the trials of ``plan`` that ``file`` does not hold yet, and keeps each there as a line of JSON."""
    jury, rows = Jury(size.noises), read(file)
    for trial in plan:
        if trial.name not in rows:
            start = time.monotonic()
            row = {"trial": trial.name, **_measured(trial, jury, size.steps)}
            keep(file, rows, [row | {"seconds": round(time.monotonic() - start, 1)}])
        progress()


def keep(file: Path, rows: dict[str, dict], new: list[dict]) -> None:
    """Adds ``new`` rows to ``rows`` and writes all of them to ``file``."""
    rows.update({row["trial"]: row for row in new})
    with written(file) as temporary:
        temporary.write_text("".join(json.dumps(row) + "\n" for row in rows.values()))


class Jury:
    """Those who trained nobody, the other people that they compare with, and the noises of what they are shown."""

    def __init__(self, noises: tuple[int, ...]):
        self.judges, self.noises = Judges.shipped(), noises
        self.others = self.judges.vectors(draw(identities(OTHERS), some_ages(OTHERS), views(OTHERS)))

    def draw(self, trainer: Trainer) -> Tensor:
        """The six ages from each noise, [6 * noises, 3, 64, 64]."""
        return torch.cat([draw_six(trainer, seed) for seed in self.noises])

    def measure(self, pictures: Tensor, subject: SubjectSet) -> dict:
        """Similarities of every picture to every photo (mated) and other person (non-mated), and years."""
        vectors = self.judges.vectors(pictures)
        return {
            "asked": list(AGE_CLASSES) * len(self.noises),
            "years": _rounded(self.judges.years(pictures), 1),
            "mated": _rounded((vectors @ self.judges.vectors(stacked(subject)).T).tolist(), 4),
            "non_mated": _rounded((vectors @ self.others.T).tolist(), 4),
        }


def _measured(trial: Trial, jury: Jury, steps: int) -> dict:
    subject = subject_set(trial.subject)
    pictures = _true(trial, jury) if trial.variant == TRUE else jury.draw(_trained(trial, subject, steps))
    known = {"variant": trial.variant.name, "subject": trial.subject, "seed": trial.seed}
    return known | jury.measure(pictures, subject)


def _true(trial: Trial, jury: Jury) -> Tensor:
    """The person at the middle of each age class, drawn by the program in views that are in no photo."""
    views = range(100, 100 + len(jury.noises))
    faces = [photos(trial.subject, class_middle(age), 1, view) for view in views for age in AGE_CLASSES]
    return torch.cat([to_tensor(face) for (face,) in faces])


def _trained(trial: Trial, subject: SubjectSet, steps: int) -> Trainer:
    variant = trial.variant
    trainer = trainer_of(
        subject_set(trial.subject, detector=whole_picture) if variant.whole else subject,
        regularization_set() if variant.regularized else None,
        variant.config(trial.seed, steps),
        tiny_vae=student() if variant.student else None,
    )
    if variant.anytime:
        trainer.data.decode_probability = _anytime
    if variant.trained:
        trainer.run()
    return trainer


def _anytime(t: Tensor, timesteps: int) -> Tensor:
    """As many decodes as (1 - t/T)^2 gives on average, at every t alike."""
    return torch.full(t.shape, decode_probability(torch.arange(timesteps), timesteps).mean().item())


def whole_picture(image: Image.Image) -> list[Face]:
    """A FaceDetector that takes the picture for the face."""
    face = known_place(image)[0]
    inset = (1 - 1 / CROP_SCALE) / 2 * image.width
    return [Face((inset, inset, image.width - inset, image.width - inset), face.landmarks)]


def _rounded(values: list, digits: int) -> list:
    return [_rounded(value, digits) if isinstance(value, list) else round(value, digits) for value in values]

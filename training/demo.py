"""The whole method on a person who was drawn by program: train, draw six ages, score, and show all of it on a page."""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .ages import AGE_CLASSES, display_name
from .config import TrainingConfig
from .files import written
from .photos import to_image
from .scoring import Report, score
from .sheet import contact_sheet, headed
from .world.photos import write_photos
from .world.trial import SETTINGS, YEARS, Judges, draw_six, regularization_set, stacked, subject_set, trainer_of

PHOTO, PICTURE = 144, 196  # px; eight of one beside each other are as wide as six of the other
NOISE = 7  # seed


def run(out: Path, person: int, steps: int, say: Callable[[str], None] = print) -> dict[str, Report]:
    """Trains the held-out ``person`` for ``steps`` and writes everything into ``out``.

    Returns the scores of the six ages before training and after.
    """
    from tqdm import tqdm

    from .run import train_subject

    write_photos(out, person)
    subject, judges = subject_set(person), Judges.shipped()
    say(f"Drew {len(subject.photos)} photos of one person, and other people of all ages, into {out}.")
    trainer = trainer_of(subject, regularization_set(), TrainingConfig(**SETTINGS, max_train_steps=steps))
    drawn = {"before training": draw_six(trainer, [NOISE])[0]}
    with tqdm(total=steps, unit="step", desc="training") as bar:
        train_subject(trainer, out / "subject.safetensors", torch.float16, [lambda _: bar.update()])
    drawn[f"after {steps} steps"] = draw_six(trainer, [NOISE])[0]

    photos = stacked(subject)
    references = dict(zip((photo.name for photo in subject.photos), judges.vectors(photos), strict=True))
    reports, sheets = {}, [(f"{len(photos)} photos at {YEARS:g} years", _row(photos, PHOTO, [""] * len(photos)))]
    for when, pictures in drawn.items():
        vectors = dict(zip((f"{age}.png" for age in AGE_CLASSES), judges.vectors(pictures), strict=True))
        reports[when] = score(vectors, references, judges.embedder.name)
        labels = [
            f"{display_name(age)}\nsimilarity {row.mean_similarity:.2f}\nlooks {years:.0f} years"
            for age, row, years in zip(AGE_CLASSES, reports[when].images, judges.years(pictures), strict=True)
        ]
        sheets.append((f"The six ages, {when}", _row(pictures, PICTURE, labels)))
    for age, picture in zip(AGE_CLASSES, pictures, strict=True):
        with written(out / "sheet" / f"{age}.png") as temporary:
            to_image(picture).save(temporary)
    with written(out / "sheet.png") as temporary:
        headed(sheets).save(temporary)
    return reports


def _row(pictures: Tensor, side: int, labels: list[str]) -> Image.Image:
    shown = [to_image(picture).resize((side, side), Image.Resampling.BICUBIC) for picture in pictures]
    return contact_sheet(shown, labels)

"""The whole method on a person who was drawn by program: train, draw six ages, score, and show all of it on a page."""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from .ages import AGE_CLASSES, display_name
from .config import TrainingConfig
from .curves import curves
from .photos import save, to_image
from .sheet import contact_sheet, headed
from .world.photos import write_photos
from .world.trial import SETTINGS, YEARS, Judges, draw_six, regularization_set, stacked, subject_set, trainer_of

PHOTO, PICTURE = 144, 196  # px; eight of one beside each other are as wide as six of the other
NOISE = 101  # seed of the noise that all twelve pictures grow from


def run(out: Path, person: int, steps: int, command: Callable[[list[str]], int]) -> int:
    """Trains the held-out ``person`` for ``steps`` and writes everything into ``out``; ``command`` then scores it."""
    from tqdm import tqdm

    from .run import train_subject

    write_photos(out, person, YEARS)
    subject, judges = subject_set(person), Judges.shipped()
    print(f"Drew {len(subject.photos)} photos of one person, and other people of all ages, into {out}.", flush=True)
    config = TrainingConfig(**SETTINGS, max_train_steps=steps)
    trainer = trainer_of(subject, regularization_set(), config, out / "training-state.pt")
    before = draw_six(trainer, NOISE)
    with tqdm(total=steps, unit="step", desc="training") as bar:
        train_subject(trainer, out / "subject.safetensors", torch.float16, [lambda _: bar.update()])
    after = draw_six(trainer, NOISE)

    photos = stacked(subject)
    references = judges.vectors(photos)
    sheets = [(f"{len(photos)} photos at {YEARS:g} years", _row(photos, PHOTO, [""] * len(photos)))]
    for folder, heading, pictures in (
        ("before", "The six ages before training: some person", before),
        ("after", f"The six ages after {steps} steps", after),
    ):
        similarities = (judges.vectors(pictures) @ references.T).mean(1).tolist()
        labels = [
            f"{display_name(age)}\nsimilarity {similarity:.2f}\nlooks {years:.0f} years"
            for age, similarity, years in zip(AGE_CLASSES, similarities, judges.years(pictures), strict=True)
        ]
        sheets.append((heading, _row(pictures, PICTURE, labels)))
        for age, picture in zip(AGE_CLASSES, pictures, strict=True):
            save(to_image(picture), out / folder / f"{age}.png")
    save(headed(sheets), out / "sheet.png")
    save(curves(trainer.history), out / "losses.png")
    line = f"score --reference {out}/photos --images {out}/after --untrained {out}/before --regularization {out}/ages"
    line += f" --photo-age {YEARS:g} --trained-with drawn-loss --embedder drawn-score --age-estimator drawn-age"
    line += f" --report {out}/report.html --report {out}/report.json"
    print(f"\n$ python -m training {line}", flush=True)
    code = command(line.split())
    print(f"\nLook at {out / 'sheet.png'} and {out / 'losses.png'}, and open {out / 'report.html'} in a browser.")
    return code


def _row(pictures: Tensor, side: int, labels: list[str]) -> Image.Image:
    shown = [to_image(picture).resize((side, side), Image.Resampling.BICUBIC) for picture in pictures]
    return contact_sheet(shown, labels)

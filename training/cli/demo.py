"""The demo command: trains, generates and scores a synthetic person, and writes a report page."""

from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from ..ages import AGE_CLASSES, display_name
from ..biometrics.comparisons import against
from ..catalogue import SYNTHETIC_AGE_JUDGE
from ..faces.age_estimators import CropAgeEstimator
from ..faces.observation import Observer
from ..files import check_replaceable
from ..options import check, option, spelled
from ..pictures.photos import save
from ..pictures.sheet import contact_sheet, headed
from ..runs.curves import curves
from ..runs.files import write_subject
from ..runs.state import StateFile
from ..world.recipe import SHOWN, YEARS, generate_six, regularization_set, subject_set, synthetic_observer, trainer_of
from ..world.render.photos import SUBJECT, write_photos
from ..world.shipped import age_estimator
from .console import say
from .outputs import visible_files
from .score import ScoreOptions, score
from .shared import LAST_PERSON, PERSON_HELP

PHOTO, PICTURE = 144, 196  # px; a row of eight photos is as wide as a row of six images
NOISE = 101  # seed of the starting noise of all twelve images


@dataclass(frozen=True)
class DemoOptions:
    """The person, the number of steps and the output folder."""

    out: Path = option(Path("demo"), help="folder for everything the demo writes", output="folder")
    person: int = option(SUBJECT, help=PERSON_HELP, low=0, high=LAST_PERSON)
    steps: int = option(100, help="training steps", low=1)

    def __post_init__(self):
        check(self)


def demo(options: DemoOptions) -> int:
    """Trains a held-out person of the synthetic world and writes everything into ``out``."""
    out, steps = options.out, options.steps
    check_replaceable(
        *visible_files(*(out / folder for folder in ("photos", "ages", "before", "after"))),
        *(out / name for name in ("sheet.png", "losses.png", "report.html", "report.json")),
        *(out / name for name in ("subject.safetensors", "training-state.pt")),
    )
    write_photos(out, options.person, YEARS)
    subject = subject_set(options.person)
    photos = [photo.image() for photo in subject.photos]
    say(f"Rendered {len(photos)} photos of one person, and other people of all ages, into {out}.")
    estimator = CropAgeEstimator(age_estimator())
    trainer = trainer_of(subject, regularization_set(), replace(SHOWN, max_train_steps=steps), estimator=estimator)
    before = generate_six(trainer, NOISE)
    with tqdm(total=steps, unit="step", desc="training") as bar:
        trainer.run(StateFile(trainer, out / "training-state.pt").save, [lambda _: bar.update()])
    write_subject(trainer, out / "subject.safetensors", torch.float16)
    after = generate_six(trainer, NOISE)

    observer = synthetic_observer("age-judge")  # the reward uses the other one
    references = [observer.observe(f"photo {number}", photo) for number, photo in enumerate(photos, 1)]
    sheets = [(f"{len(photos)} photos at {YEARS:g} years", _row(photos, PHOTO, [""] * len(photos)))]
    for folder, heading, pictures in (
        ("before", "The six ages before training: some person", before),
        ("after", f"The six ages after {steps} steps", after),
    ):
        sheets.append((heading, _row(pictures, PICTURE, _labels(pictures, observer, references))))
        for age, picture in zip(AGE_CLASSES, pictures, strict=True):
            save(picture, out / folder / f"{age}.png")
    save(headed(sheets), out / "sheet.png")
    save(curves(trainer.history), out / "losses.png")
    scoring = ScoreOptions(
        reference=out / "photos",
        images=out / "after",
        untrained=out / "before",
        regularization=out / "ages",
        photo_age=int(YEARS),
        trained_with="drawn-loss",
        embedder="drawn-score",
        age_estimator=SYNTHETIC_AGE_JUDGE,
        report=(out / "report.html", out / "report.json"),
    )
    say(f"\n$ python -m training score {spelled(scoring)}")
    score(scoring)
    say(f"\nSee {out / 'sheet.png'} and {out / 'losses.png'}, and open {out / 'report.html'} in a browser.")
    return 0


def _labels(pictures: list[Image.Image], observer: Observer, references: list) -> list[str]:
    """The text below each of the six images: its age class, similarity and estimated age."""
    observations = [observer.observe(age, picture, age) for age, picture in zip(AGE_CLASSES, pictures, strict=True)]
    # Every image has an estimate, because synthetic faces have a known place.
    years = [observation.estimate.years for observation in observations if observation.estimate]
    return [
        f"{display_name(age)}\nsimilarity {similarity:.2f}\nlooks {evaluations:.0f} years"
        for age, evaluations, similarity in zip(
            AGE_CLASSES, years, against(observations, references).means, strict=True
        )
    ]


def _row(pictures: list[Image.Image], side: int, labels: list[str]) -> Image.Image:
    resized = [picture.resize((side, side), Image.Resampling.BICUBIC) for picture in pictures]
    return contact_sheet(resized, labels)

"""The score command: how well identity survived, as text and as files."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..ages import MAX_AGE, age_of
from ..biometrics.comparisons import with_face
from ..catalogue import EMBEDDERS, SCORERS, age_estimator_for, how_made, load_embedder, matcher_name, scorer
from ..data.ages_in_names import AGES_HELP, BY_NAME
from ..data.dataset import read_regularization_set
from ..data.subject_photos import read_photos, with_ages
from ..errors import UserError
from ..faces.find import MTCNNDetector
from ..faces.observation import Observation, Observer
from ..options import check, option
from ..pictures.photos import Photo, left_out, read_folder, read_once
from ..report.build import BiometricReport, build
from ..report.files import REPORT_SUFFIXES, write
from ..report.text import text
from .console import progress_bar, say
from .shared import AGE_ESTIMATORS, DOWNLOAD_HELP, EMBEDDER_HELP, WEIGHTS_HELP


@dataclass(frozen=True)
class ScoreOptions:
    """Whom to compare with whom, and who does it."""

    reference: Path = option(help="folder with photos of the subject")
    images: Path = option(help="folder with the images to score")
    impostors: Path | None = option(
        None, help="folder with real photos of other people: non-mated comparisons, which FMR and FNMR need"
    )
    regularization: Path | None = option(None, help="the age-captioned faces, which are other people too")
    untrained: Path | None = option(None, help="folder with what the base model draws without training, as a yardstick")
    photo_age: int | None = option(
        None, help="the subject's age, years, in those reference photos whose own age is not known", low=0, high=MAX_AGE
    )
    photo_ages: str = option(BY_NAME, help=AGES_HELP)
    held_out: Path | None = option(
        None,
        help="folder with photos of the subject that trained nobody, each of an age as its name, folder or .txt says: "
        "the truth at that age",
    )
    age_estimator: str | None = option(None, help=f"judges the ages: {AGE_ESTIMATORS}")
    trained_with: str | None = option(None, help="the embedder of the identity loss, for the record", choices=EMBEDDERS)
    report: tuple[Path, ...] = option(
        (), help="file to write: .json, .csv, .html, or .png (one a plot); may be given several times", output="file"
    )
    embedder: str | None = option(
        None,
        help=f"{EMBEDDER_HELP}; by default the first of {', '.join(SCORERS)} that is there and was not trained with",
        choices=EMBEDDERS,
    )
    embedder_weights: Path | None = option(None, help=WEIGHTS_HELP)
    download: bool = option(False, help=DOWNLOAD_HELP)

    def __post_init__(self):
        check(self)
        for path in self.report:
            if path.suffix.lower() not in REPORT_SUFFIXES:
                raise UserError(f"--report {path} must end in one of {', '.join(REPORT_SUFFIXES)}.")


def score(options: ScoreOptions) -> int:
    """Compares the faces in ``images`` with those in ``reference``, and both with other people's."""
    photos = with_ages(read_photos(options.reference, "reference photos"), options.photo_ages)
    drawn = read_folder(options.images, "images to score")
    result = _report(options, photos, drawn)
    say(text(result))
    for path in options.report:
        for file in write(result, path, {photo.name: photo for photo in drawn}):
            say(f"wrote {file}")
    return 0


def _report(options: ScoreOptions, photos: list[Photo], drawn: list[Photo]) -> BiometricReport:
    """The report on the pictures ``drawn``. Raises UserError where no reference photo has a face."""
    before = read_folder(options.untrained, "pictures of the untrained model") if options.untrained else []
    people = read_folder(options.impostors, "pictures of other people") if options.impostors else []
    people_ages = _ages_of(people)
    held_out = read_photos(options.held_out, "held-out photos") if options.held_out else []
    if options.regularization:
        captioned = read_regularization_set(options.regularization)
        people, people_ages = people + captioned.photos, people_ages + captioned.ages
    folders = (options.reference, options.images, options.untrained, options.impostors, options.held_out)
    for folder in filter(None, (*folders, options.regularization)):
        say(*left_out(folder))
    say(*read_once([*photos, *drawn, *before, *people, *held_out], progress_bar("reading pictures")))
    weights = options.embedder_weights
    name = options.embedder or scorer(weights, options.trained_with)
    network = load_embedder(name, weights, options.download)
    estimator = age_estimator_for(name, options.age_estimator, weights, options.download)
    observer = Observer(network.detector or MTCNNDetector(), network, estimator)

    def observed(what: str, pictures: list[Photo], ages: Sequence[str | int | None]) -> list[Observation]:
        shown = progress_bar(f"finding faces in {what}")(pictures)
        return [observer.observe(one.name, one.image(), age) for one, age in zip(shown, ages, strict=True)]

    references = observed("references", photos, [photo.age for photo in photos])
    if not with_face(references):
        raise UserError(
            f"No face was found in any of the {len(photos)} reference photos; similarity needs at least one."
        )
    return build(
        images=observed("images", drawn, _ages_of(drawn)),
        references=references,
        matcher=network.name,
        others=observed("other people", people, people_ages),
        untrained=observed("untrained images", before, _ages_of(before)),
        trained_with=options.trained_with and matcher_name(options.trained_with),
        photo_age=options.photo_age,
        estimator=estimator.name if estimator else None,
        held_out=observed("held-out photos", held_out, [photo.age for photo in held_out]),
        facts=network.facts,
        trained_made=options.trained_with and how_made(options.trained_with),
        errors=observer.age_errors,
    )


def _ages_of(photos: list[Photo]) -> list[str | int | None]:
    return [age_of(photo.name) for photo in photos]

"""The score command: how well identity survived, as text and as files."""

from dataclasses import dataclass, replace
from pathlib import Path

from ..ages import MAX_AGE, age_of
from ..biometrics.comparisons import with_face
from ..catalogue import EMBEDDERS, SCORERS, age_estimator_for, how_made, load_embedder, matcher_name, scorer
from ..data.ages_in_names import AGES_HELP, BY_NAME
from ..data.dataset import read_regularization_set
from ..data.dates import BIRTH_DATE_HELP, parse_birth_date, with_birth_date
from ..data.subject_photos import notes_remarks, read_photos, with_ages
from ..errors import InvalidSetting, NoFaceFound
from ..faces.find import MTCNNDetector
from ..faces.observation import Observer
from ..files import check_replaceable
from ..options import check, option
from ..pictures.photos import Photo, left_out, read_folder, read_once
from ..report.compare import Images, compare
from ..report.files import REPORT_SUFFIXES, files_of, write
from ..report.text import text
from .console import progress_bar, say
from .shared import AGE_ESTIMATORS, DOWNLOAD_HELP, EMBEDDER_HELP, WEIGHTS_HELP


@dataclass(frozen=True)
class ScoreOptions:
    """Images to compare, and the networks that compare them."""

    reference: Path = option(help="folder with photos of the subject")
    images: Path = option(help="folder with the images to score")
    impostors: Path | None = option(
        None, help="folder with real photos of other people, for the non-mated comparisons that FMR and FNMR need"
    )
    regularization: Path | None = option(None, help="folder of age-captioned faces; they count as other people too")
    untrained: Path | None = option(None, help="folder with images from the untrained base model, as a yardstick")
    photo_age: int | None = option(
        None, help="age of the subject in reference photos of unknown age, years", low=0, high=MAX_AGE
    )
    photo_ages: str = option(BY_NAME, help=AGES_HELP)
    birth_date: str = option("", help=BIRTH_DATE_HELP)
    held_out: Path | None = option(
        None,
        help="folder with photos of the subject that were not trained on, with ages in their names, folders or .txt "
        "files: the ground truth at those ages",
    )
    age_estimator: str | None = option(None, help=f"estimates the ages: {AGE_ESTIMATORS}")
    trained_with: str | None = option(None, help="embedder of the identity loss, for the report", choices=EMBEDDERS)
    report: tuple[Path, ...] = option(
        (), help="file to write: .json, .csv, .html, or .png (one per plot); can be given several times", output="file"
    )
    embedder: str | None = option(
        None,
        help=f"{EMBEDDER_HELP}; by default the first of {', '.join(SCORERS)} that is present and was not trained with",
        choices=EMBEDDERS,
    )
    embedder_weights: Path | None = option(None, help=WEIGHTS_HELP)
    download: bool = option(False, help=DOWNLOAD_HELP)

    def __post_init__(self):
        check(self)
        parse_birth_date(self.birth_date)
        for path in self.report:
            if path.suffix.lower() not in REPORT_SUFFIXES:
                raise InvalidSetting(f"--report {path} must end in one of {', '.join(REPORT_SUFFIXES)}.")


def score(options: ScoreOptions) -> int:
    """Compares the faces in ``images`` with those in ``reference``, and both with other people's."""
    check_replaceable(*(file for path in options.report for file in files_of(path)))
    images = _images(options)
    weights = options.embedder_weights
    name = options.embedder or scorer(weights, options.trained_with)
    embedder = load_embedder(name, weights, options.download)
    estimator = age_estimator_for(name, options.age_estimator, weights, options.download)
    report = compare(
        images,
        Observer(embedder.detector or MTCNNDetector(), embedder, estimator),
        options.photo_age,
        options.trained_with and matcher_name(options.trained_with),
        options.trained_with and how_made(options.trained_with),
        progress_bar,
    )
    if not with_face(report.references.pictures):
        raise NoFaceFound(
            f"No face was found in the {len(images.references)} reference photos. Use photos with a larger face."
        )
    say(text(report))
    for path in options.report:
        for file in write(report, path, {photo.name: photo for photo in images.generated}):
            say(f"wrote {file}")
    return 0


def _images(options: ScoreOptions) -> Images:
    """All images with their ages, each read once so that damaged ones are reported before the comparison."""
    references = with_ages(read_photos(options.reference, "reference photos"), options.photo_ages)
    references = with_birth_date(references, options.birth_date)
    generated = _with_ages(read_folder(options.images, "images to score"))
    others = _with_ages(read_folder(options.impostors, "images of other people")) if options.impostors else []
    untrained = _with_ages(read_folder(options.untrained, "untrained images")) if options.untrained else []
    held_out = read_photos(options.held_out, "held-out photos") if options.held_out else []
    held_out = with_birth_date(held_out, options.birth_date)
    say(*notes_remarks([*references, *held_out]))
    if options.regularization:
        regularization = read_regularization_set(options.regularization)
        others += [
            replace(photo, age=age) for photo, age in zip(regularization.photos, regularization.ages, strict=True)
        ]
    folders = (options.reference, options.images, options.untrained, options.impostors, options.held_out)
    for folder in filter(None, (*folders, options.regularization)):
        say(*left_out(folder))
    photos = [*references, *generated, *untrained, *others, *held_out]
    say(*read_once(photos, progress_bar("reading images")))
    return Images(generated, references, others, untrained, held_out)


def _with_ages(photos: list[Photo]) -> list[Photo]:
    """``photos`` with the ages that their names say."""
    return [replace(photo, age=age_of(photo.name)) for photo in photos]

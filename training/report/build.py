"""The biometric report: identity and age of generated images, with yardsticks and remarks on their limits."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ..ages import AGE_CLASSES, age_is_right, class_of, display_name, middle_years, years_off
from ..biometrics.bootstrap import Interval, interval
from ..biometrics.comparisons import Comparisons, against, among, with_face
from ..biometrics.copies import Copies, distinct, find_copies, unseen
from ..biometrics.rates import OperatingPoint, auc, d_prime, equal_error_rate, fnmr_at_fmr, least_fmr, supports
from ..biometrics.verdicts import provenance
from ..faces.age_estimators import AgeErrors
from ..faces.embedders import UNKNOWN, Facts
from ..faces.observation import Observation
from .across import AcrossAges, across_ages

TARGETS = (0.1, 0.01, 0.001, 0.0001)  # FMR
GAPS = ((0, "under 10 years"), (10, "10 to 19 years"), (20, "20 to 39 years"), (40, "40 years or more"))
REAL_ROW, BASE_ROW, GENERATED_ROW = "real photos, leave one out", "base model, untrained", "subject, drawn"


@dataclass(frozen=True)
class Row:
    """One set of mated comparisons against all non-mated comparisons. Undefined numbers are nan."""

    name: str
    comparisons: Comparisons
    mean: Interval  # mean similarity, resampled over images
    eer: float
    auc: float
    d_prime: float
    points: list[OperatingPoint]  # one per target in TARGETS
    fnmr: list[Interval]  # FNMR at each operating point, resampled over images


@dataclass(frozen=True)
class AgeAgreement:
    """Estimated against known or requested ages, over the images with a face and an age."""

    pictures: int
    right: float  # share whose age is right; see ages.age_is_right
    mean_absolute_error: float  # years; distance to the class if a class was requested
    confusion: list[list[int]]  # [requested class][estimated class], in the order of AGE_CLASSES


@dataclass(frozen=True)
class AgeReport:
    """Estimated ages of the generated images, and the accuracy of the estimator on real faces of known age."""

    estimator: str
    drawn: AgeAgreement
    known: AgeAgreement
    errors: AgeErrors | None  # accuracy of the estimator on a public data set


@dataclass(frozen=True)
class BiometricReport:
    """All results that the text, the files and the page show."""

    matcher: str
    facts: Facts  # of the matcher
    trained_with: str | None
    trained_made: str | None
    photo_age: int | None
    images: Comparisons  # generated images against the references: mated
    references: Comparisons  # references against each other, the yardstick: mated
    non_mated: Comparisons
    rows: list[Row]
    by_age: list[Row]
    by_gap: list[Row]
    across: AcrossAges | None
    copies: Copies
    ages: AgeReport | None
    remarks: list[str] = field(default_factory=list)  # sentences on the limits of the numbers

    def row(self, name: str) -> Row:
        """Returns the row called ``name`` from ``rows``."""
        return {row.name: row for row in self.rows}[name]


@dataclass(frozen=True)
class Networks:
    """The networks behind a report's numbers, by name."""

    matcher: str
    facts: Facts = UNKNOWN  # of the matcher
    trained_with: str | None = None  # the matcher of the identity loss
    trained_made: str | None = None  # its architecture and training data
    estimator: str | None = None  # of ages
    errors: AgeErrors | None = None  # of the age estimator


def build(
    images: Sequence[Observation],
    references: Sequence[Observation],
    networks: Networks,
    others: Sequence[Observation] = (),
    untrained: Sequence[Observation] = (),
    held_out: Sequence[Observation] = (),
    photo_age: int | None = None,
) -> BiometricReport:
    """Builds the report on generated ``images`` of the subject whose real photos are ``references``.

    References that repeat each other count once, and held-out photos that repeat another photo are left out; the
    remarks name them.

    others: real images of other people. Their comparisons with the references are the non-mated comparisons.
    untrained: images that the base model generates without training.
    photo_age: age of the subject in photos whose own age is unknown, in years.
    held_out: photos of the subject that were not used in training, the ground truth at their age.
    """
    held_out, repeats_held_out = unseen(held_out, references)
    references, repeats = distinct(references)
    references = [replace(photo, age=photo_age if photo.age is None else photo.age) for photo in references]
    generated, photos, impostors = against(images, references), among(references), against(others, references)
    non_mated = impostors.similarities
    # Not resampled: pairs of photos share photos, so they are not independent units.
    rows = [_row(REAL_ROW, photos.each_pair_once(), non_mated, resampled=False)]
    if untrained:
        rows.append(_row(BASE_ROW, against(untrained, references), non_mated))
    rows.append(_row(GENERATED_ROW, generated, non_mated))
    agreement = None
    if networks.estimator:
        real_faces = [(picture, picture.age) for picture in (*others, *references, *held_out)]
        agreement = AgeReport(
            networks.estimator,
            _agreement([(image, image.age) for image in images]),
            _agreement(real_faces),
            networks.errors,
        )
    report = BiometricReport(
        matcher=networks.matcher,
        facts=networks.facts,
        trained_with=networks.trained_with,
        trained_made=networks.trained_made,
        photo_age=photo_age,
        images=generated,
        references=photos,
        non_mated=impostors,
        rows=rows,
        by_age=_by_age(generated, non_mated),
        by_gap=_by_gap(generated, photos.each_pair_once(), non_mated),
        across=across_ages(images, references, held_out),
        copies=find_copies(generated, photos),
        ages=agreement,
    )
    return replace(report, remarks=[*repeats, *repeats_held_out, *_remarks(report)])


def _by_age(generated: Comparisons, non_mated: np.ndarray) -> list[Row]:
    """Returns one row per requested age, the youngest first."""
    requested = [image.age for image in generated.pictures]
    rows = []
    for age in sorted({age for age in requested if age is not None}, key=middle_years):
        selected = [index for index, image_age in enumerate(requested) if image_age == age]
        rows.append(_row(display_name(age), generated.of(selected), non_mated))
    return rows


def _by_gap(generated: Comparisons, photos: Comparisons, non_mated: np.ndarray) -> list[Row]:
    """Returns one row per range of years between requested age and photo age, if both are known.

    If the photos themselves are as far apart, each range also has a row of photo comparisons, the yardstick.
    """
    gaps, photo_gaps = _years_apart(generated), _years_apart(photos)
    photos_differ = bool(np.nanmax(photo_gaps, initial=0) >= GAPS[1][0])
    ends = [least for least, _ in GAPS[1:]] + [np.inf]
    rows = []
    for (least, name), end in zip(GAPS, ends, strict=True):
        if (kept := (gaps >= least) & (gaps < end)).any():
            rows.append(_row(name, generated.where(kept).of(np.flatnonzero(kept.any(1))), non_mated))
        if photos_differ and (kept := (photo_gaps >= least) & (photo_gaps < end) & ~np.isnan(photos.matrix)).any():
            compared_photos = photos.where(kept).of(np.flatnonzero((kept | kept.T).any(1)))
            rows.append(_row(f"real photos, {name}", compared_photos, non_mated, resampled=False))
    return rows


def _years_apart(compared: Comparisons) -> np.ndarray:
    """Returns the years between the ages of each comparison [P, R]; nan if an age is unknown."""
    rows, columns = (
        np.array([np.nan if item.age is None else middle_years(item.age) for item in side], dtype=float)
        for side in (compared.pictures, compared.references)
    )
    return np.abs(rows[:, None] - columns[None])


def _row(name: str, mated: Comparisons, non_mated: np.ndarray, resampled: bool = True) -> Row:
    values = mated.similarities
    units = mated.per_picture if resampled else [values]
    points = [fnmr_at_fmr(values, non_mated, target) for target in TARGETS]
    return Row(
        name,
        mated,
        _pooled_mean(units),
        equal_error_rate(values, non_mated).value,
        auc(values, non_mated),
        d_prime(values, non_mated),
        points,
        [_pooled_mean([picture < point.threshold for picture in units]) for point in points],
    )


def _pooled_mean(units: Sequence[np.ndarray]) -> Interval:
    """Returns the mean of all values in ``units``, resampled over units; no interval if all values are equal."""
    sums = [(unit.sum(), unit.size) for unit in units if unit.size]
    result = interval(lambda sample: np.divide(*np.sum(sample, axis=0)), sums)
    return result if result.low < result.high else replace(result, low=np.nan, high=np.nan)


def _agreement(pictures: list[tuple[Observation, str | int | None]]) -> AgeAgreement:
    pairs = [(picture.estimate, age) for picture, age in pictures if picture.estimate and age is not None]
    confusion = np.zeros((len(AGE_CLASSES),) * 2, dtype=int)
    for estimate, age in pairs:
        age_class = class_of(age) if isinstance(age, int) else age
        confusion[AGE_CLASSES.index(age_class), AGE_CLASSES.index(estimate.age_class)] += 1
    if not pairs:
        return AgeAgreement(0, np.nan, np.nan, confusion.tolist())
    right = float(np.mean([age_is_right(estimate, age) for estimate, age in pairs]))
    error = float(np.mean([years_off(estimate.years, age) for estimate, age in pairs]))
    return AgeAgreement(len(pairs), right, error, confusion.tolist())


def _remarks(report: BiometricReport) -> list[str]:
    """Returns sentences on the limits of the numbers."""
    photos, images = len(with_face(report.references.pictures)), report.images.pictures
    remarks = [*_matchers(report), *_verdicts(report), *_support(report, photos)]
    if not photos:
        remarks.append("No face was detected in any reference photo, so there is nothing to compare.")
    elif photos == 1:
        remarks.append(
            "Only one reference photo has a face, so real photos cannot be compared with each other and copies cannot "
            "be detected."
        )
    remarks.append(
        "All mated comparisons are of one subject. The intervals resample its images and apply to this subject only."
    )
    if failures := report.images.failures_to_detect:
        remarks.append(
            f"No face was detected in {failures} of {len(images)} generated images. They have no similarity or rate."
        )
    remarks += _unreliable_faces(report.images)
    if ageless := sum(image.age is None for image in images):
        remarks.append(
            f"{ageless} of {len(images)} generated images have no known age. The table by age excludes them."
        )
    if report.across and report.across.ageless:
        remarks.append(f"{report.across.ageless} photos have no known age. The table by photo age excludes them.")
    if report.ages and not report.ages.known.pictures:
        remarks.append("The age estimator was not checked on photos of known age, because none were given.")
    return remarks


def _matchers(report: BiometricReport) -> list[str]:
    scored = _described(report.matcher, report.facts.made)
    if not report.trained_with:
        return [f"Scored with {scored}."]
    trained = _described(report.trained_with, report.trained_made)
    sentences = [f"The identity loss used {trained}. Scored with {scored}."]
    if report.trained_with == report.matcher:
        sentences.append(
            "Both are the same matcher, so the similarities are too optimistic. Score with a different matcher."
        )
    return sentences


def _described(name: str, description: str | None) -> str:
    return f"{name} ({description})" if description else name


def _verdicts(report: BiometricReport) -> list[str]:
    """Explains the verdicts and their thresholds."""
    if not report.facts.thresholds:
        return []
    sentences = provenance(report.facts.thresholds)
    if report.by_gap:
        sentences.append(
            "How much the similarity of a real person drops over decades was not measured, so the thresholds are the "
            "same at every age gap."
        )
    return sentences


def _unreliable_faces(images: Comparisons) -> list[str]:
    """Compares small faces and faces from the side with the others."""
    unreliable = [index for index, image in enumerate(images.pictures) if image.doubt]
    if not unreliable:
        return []
    reliable = [index for index, image in enumerate(images.pictures) if not image.doubt]
    low, high = (images.of(indices).similarities for indices in (unreliable, reliable))
    sentence = f"{len(unreliable)} of {len(with_face(images.pictures))} faces are small or seen from the side"
    if low.size and high.size:
        sentence += f": their mean similarity is {low.mean():.3f}, that of the other faces {high.mean():.3f}"
    return [f"{sentence}."]


def _support(report: BiometricReport, photos: int) -> list[str]:
    """States which FMRs the number of non-mated comparisons supports."""
    count = report.non_mated.similarities.size
    if not count:
        return ["FMR, FNMR, EER, AUC and d' are missing because there are no images of other people."]
    missing = [f"{100 * target:g} % ({round(3 / target)})" for target in TARGETS if not supports(count, target)]
    least = 100 * min(1, least_fmr(count))
    sentence = f"{count} non-mated comparisons support an FMR of {least:.2g} % or more (rule of three)."
    if missing:
        sentence += f" Not supported (comparisons needed): {', '.join(missing)}."
    return [
        sentence,
        f"They compare {len(report.non_mated.per_picture)} images of other people with {photos} photos of one subject. "
        "Such comparisons are not independent, so they support less than their number suggests.",
    ]

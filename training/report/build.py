"""The biometric report: how well identity and age survived, with the yardsticks beside them and what cannot be said."""

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
REAL_ROW, BASE_ROW, DRAWN_ROW = "real photos, leave one out", "base model, untrained", "subject, drawn"


@dataclass(frozen=True)
class Row:
    """Mated comparisons of one kind against all non-mated ones. A number that does not exist is nan."""

    name: str
    comparisons: Comparisons
    mean: Interval  # of the similarity, resampled over pictures
    eer: float
    auc: float
    d_prime: float
    points: list[OperatingPoint]  # one for each of TARGETS
    fnmr: list[Interval]  # at each of them, resampled likewise


@dataclass(frozen=True)
class AgeAgreement:
    """Estimated against known or asked ages, over the pictures with a face and an age."""

    pictures: int
    right: float  # share whose age is right; see age_estimator.age_is_right
    mean_absolute_error: float  # years; outside the class where a class was asked for
    confusion: list[list[int]]  # [asked class][estimated class], in the order of the six


@dataclass(frozen=True)
class AgeReport:
    """The drawn pictures' ages, and the estimator's own error on real faces of known age."""

    estimator: str
    drawn: AgeAgreement
    known: AgeAgreement
    errors: AgeErrors | None  # what was measured of the estimator elsewhere


@dataclass(frozen=True)
class BiometricReport:
    """Everything that the table, the files and the page show."""

    matcher: str
    facts: Facts  # of the matcher
    trained_with: str | None
    trained_made: str | None
    photo_age: int | None
    images: Comparisons  # the drawn pictures against the references: mated
    references: Comparisons  # these among themselves, the yardstick: mated
    non_mated: Comparisons
    rows: list[Row]
    by_age: list[Row]
    by_gap: list[Row]
    across: AcrossAges | None
    copies: Copies
    ages: AgeReport | None
    remarks: list[str] = field(default_factory=list)  # sentences about what could not be had, and why

    def row(self, name: str) -> Row:
        """One of ``rows`` by its name."""
        return {row.name: row for row in self.rows}[name]


def build(
    images: Sequence[Observation],
    references: Sequence[Observation],
    matcher: str,
    others: Sequence[Observation] = (),
    untrained: Sequence[Observation] = (),
    trained_with: str | None = None,
    photo_age: int | None = None,
    estimator: str | None = None,
    facts: Facts = UNKNOWN,
    trained_made: str | None = None,
    errors: AgeErrors | None = None,
    held_out: Sequence[Observation] = (),
) -> BiometricReport:
    """The report on ``images`` of the subject whose real photos are ``references``.

    References that repeat each other count once, and a held-out photo that repeats one is left out; the remarks name
    them.
    ``others`` are real pictures of other people: their comparisons with the references are the non-mated ones.
    ``untrained`` are pictures that the base model drew without training. ``photo_age``: years of the subject in the
    photos whose own age is not known. ``held_out`` are photos of the subject that trained nobody: the truth at their
    age. ``matcher`` and ``estimator`` name what the observations were made with, ``facts`` and ``errors`` are what is
    known of them. ``trained_with`` names the matcher of the identity loss, ``trained_made`` says how it was made.
    """
    held_out, seen = unseen(held_out, references)
    references, repeats = distinct(references)
    references = [replace(photo, age=photo_age if photo.age is None else photo.age) for photo in references]
    drawn, photos, strangers = against(images, references), among(references), against(others, references)
    non_mated = strangers.similarities
    # Pairs of photos share their photos, so these are no units to resample.
    rows = [_row(REAL_ROW, photos.each_pair_once(), non_mated, resampled=False)]
    if untrained:
        rows.append(_row(BASE_ROW, against(untrained, references), non_mated))
    rows.append(_row(DRAWN_ROW, drawn, non_mated))
    agreement = None
    if estimator:
        known = [(picture, picture.age) for picture in (*others, *references, *held_out)]
        agreement = AgeReport(
            estimator, _agreement([(image, image.age) for image in images]), _agreement(known), errors
        )
    report = BiometricReport(
        matcher=matcher,
        facts=facts,
        trained_with=trained_with,
        trained_made=trained_made,
        photo_age=photo_age,
        images=drawn,
        references=photos,
        non_mated=strangers,
        rows=rows,
        by_age=_by_age(drawn, non_mated),
        by_gap=_by_gap(drawn, photos.each_pair_once(), non_mated),
        across=across_ages(images, references, held_out),
        copies=find_copies(drawn, photos),
        ages=agreement,
    )
    return replace(report, remarks=[*repeats, *seen, *_remarks(report)])


def _by_age(drawn: Comparisons, non_mated: np.ndarray) -> list[Row]:
    """A row for each age that was asked for, the youngest first."""
    asked = [image.age for image in drawn.pictures]
    rows = []
    for age in sorted({age for age in asked if age is not None}, key=middle_years):
        chosen = [number for number, other in enumerate(asked) if other == age]
        rows.append(_row(display_name(age), drawn.of(chosen), non_mated))
    return rows


def _by_gap(drawn: Comparisons, photos: Comparisons, non_mated: np.ndarray) -> list[Row]:
    """A row for each kind of distance between the age asked for and that in the photo, where both are known.

    Photos that lie as far apart have rows of their own, the yardstick across the gap.
    """
    compared, between = _years_apart(drawn), _years_apart(photos)
    spread = bool(np.nanmax(between, initial=0) >= GAPS[1][0])
    ends = [least for least, _ in GAPS[1:]] + [np.inf]
    rows = []
    for (least, name), end in zip(GAPS, ends, strict=True):
        if (kept := (compared >= least) & (compared < end)).any():
            rows.append(_row(name, drawn.where(kept).of(np.flatnonzero(kept.any(1))), non_mated))
        if spread and (kept := (between >= least) & (between < end) & ~np.isnan(photos.matrix)).any():
            compared_photos = photos.where(kept).of(np.flatnonzero((kept | kept.T).any(1)))
            rows.append(_row(f"real photos, {name}", compared_photos, non_mated, resampled=False))
    return rows


def _years_apart(compared: Comparisons) -> np.ndarray:
    """[P, R]; nan where an age is not known."""
    rows, columns = (
        np.array([np.nan if one.age is None else middle_years(one.age) for one in side], dtype=float)
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
    """The mean of all values in ``units``, resampled over these; where none differs, as of no miss, no interval."""
    parts = [(unit.sum(), unit.size) for unit in units if unit.size]
    found = interval(lambda drawn: np.divide(*np.sum(drawn, axis=0)), parts)
    return found if found.low < found.high else replace(found, low=np.nan, high=np.nan)


def _agreement(pictures: list[tuple[Observation, str | int | None]]) -> AgeAgreement:
    seen = [(picture.estimate, age) for picture, age in pictures if picture.estimate and age is not None]
    confusion = np.zeros((len(AGE_CLASSES),) * 2, dtype=int)
    for estimate, age in seen:
        asked = class_of(age) if isinstance(age, int) else age
        confusion[AGE_CLASSES.index(asked), AGE_CLASSES.index(estimate.age_class)] += 1
    if not seen:
        return AgeAgreement(0, np.nan, np.nan, confusion.tolist())
    right = float(np.mean([age_is_right(estimate, age) for estimate, age in seen]))
    error = float(np.mean([years_off(estimate.years, age) for estimate, age in seen]))
    return AgeAgreement(len(seen), right, error, confusion.tolist())


def _remarks(report: BiometricReport) -> list[str]:
    """What the numbers can and cannot say, in sentences."""
    photos, images = len(with_face(report.references.pictures)), report.images.pictures
    remarks = [*_matchers(report), *_verdicts(report), *_support(report, photos)]
    if not photos:
        remarks.append("No face was found in any reference photo, so there is nothing to compare with.")
    elif photos == 1:
        remarks.append(
            "Only one reference photo has a face: real photos cannot be compared with each other, and copies cannot be "
            "told from likenesses."
        )
    remarks.append("All mated comparisons are of one subject. Intervals resample its pictures and hold of it alone.")
    if failures := report.images.failures_to_detect:
        remarks.append(
            f"No face was found in {failures} of {len(images)} drawn pictures; they are in no similarity or rate."
        )
    remarks += _doubts(report.images)
    if ageless := sum(image.age is None for image in images):
        remarks.append(f"{ageless} of {len(images)} drawn pictures have no known age and are in no age's row.")
    if report.across and report.across.ageless:
        remarks.append(f"{report.across.ageless} photos have no known age and are in no column of the ages' table.")
    if report.ages and not report.ages.known.pictures:
        remarks.append("The age estimator's own error is unknown here: no photo of known age was given.")
    return remarks


def _matchers(report: BiometricReport) -> list[str]:
    scored = _made(report.matcher, report.facts.made)
    if not report.trained_with:
        return [f"Scored with {scored}."]
    trained = _made(report.trained_with, report.trained_made)
    sentences = [f"The identity loss was trained with {trained}; scored with {scored}."]
    if report.trained_with == report.matcher:
        sentences.append("That is one and the same matcher, so the similarities flatter: score with another.")
    return sentences


def _made(name: str, made: str | None) -> str:
    return f"{name} ({made})" if made else name


def _verdicts(report: BiometricReport) -> list[str]:
    """Where the thresholds come from, and that nobody knows how far apart true pairs of other ages are."""
    if not report.facts.thresholds:
        return []
    sentences = provenance(report.facts.thresholds)
    if report.by_gap:
        sentences.append(
            "How much the similarity of one real person falls over decades was not measured: the thresholds are the "
            "same at every age gap."
        )
    return sentences


def _doubts(images: Comparisons) -> list[str]:
    """Pictures whose similarity says less, apart from the others."""
    doubtful = [number for number, image in enumerate(images.pictures) if image.doubt]
    if not doubtful:
        return []
    sure = [number for number, image in enumerate(images.pictures) if not image.doubt]
    apart, rest = (images.of(numbers).similarities for numbers in (doubtful, sure))
    sentence = f"{len(doubtful)} of {len(with_face(images.pictures))} faces are small or seen from the side"
    if apart.size and rest.size:
        sentence += f": mean similarity {apart.mean():.3f}, of the others {rest.mean():.3f}"
    return [f"{sentence}."]


def _support(report: BiometricReport, photos: int) -> list[str]:
    """What FMR the non-mated comparisons can speak of."""
    count = report.non_mated.similarities.size
    if not count:
        return ["Without pictures of other people there is no FMR, and so no FNMR, EER, AUC or d'."]
    missing = [f"{100 * target:g} % ({round(3 / target)})" for target in TARGETS if not supports(count, target)]
    least = 100 * min(1, least_fmr(count))
    sentence = f"{count} non-mated comparisons support an FMR of {least:.2g} % and more (rule of three)"
    if missing:
        sentence += f", and none of these, which need as many as stand behind them: {', '.join(missing)}"
    return [
        f"{sentence}.",
        f"They compare {len(report.non_mated.per_picture)} pictures of other people with {photos} of one subject: "
        "they depend on each other, and support less than their number says.",
    ]

"""The biometric report: how well identity and age survived, with the yardsticks beside them and what cannot be said."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .age_estimator import age_is_right, class_middle, years_off
from .ages import AGE_CLASSES, class_of, display_name
from .bootstrap import Interval, interval
from .comparisons import Comparisons, against, leave_one_out, with_face
from .copies import Copies, find_copies
from .observation import Observation
from .rates import OperatingPoint, auc, d_prime, equal_error_rate, fnmr_at_fmr, least_fmr, supports
from .scoring import Report, score

TARGETS = (0.1, 0.01, 0.001, 0.0001)  # FMR
GAPS = ((0, "under 10 years"), (10, "10 to 19 years"), (20, "20 to 39 years"), (40, "40 years or more"))
REAL, UNTRAINED, DRAWN = "real photos, leave one out", "base model, untrained", "subject, drawn"


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


@dataclass(frozen=True)
class BiometricReport:
    """Everything that the table, the files and the page show."""

    score: Report
    trained_with: str | None
    photo_age: int | None
    non_mated: Comparisons
    rows: list[Row]
    by_age: list[Row]
    by_gap: list[Row]
    copies: Copies
    ages: AgeReport | None
    images: list[Observation]
    remarks: list[str]  # sentences about what could not be had, and why

    def row(self, name: str) -> Row | None:
        """One of ``rows`` by its name."""
        return next((row for row in self.rows if row.name == name), None)


def build(
    images: Sequence[Observation],
    references: Sequence[Observation],
    matcher: str,
    others: Sequence[Observation] = (),
    untrained: Sequence[Observation] = (),
    trained_with: str | None = None,
    photo_age: int | None = None,
    estimator: str | None = None,
) -> BiometricReport:
    """The report on ``images`` of the subject whose real photos are ``references``.

    ``others`` are real pictures of other people: their comparisons with the references are the non-mated ones.
    ``untrained`` are pictures that the base model drew without training. ``photo_age``: years of the subject in the
    photos. ``matcher`` and ``estimator`` name what the observations were made with, ``trained_with`` the matcher of
    the identity loss.
    """
    others_against = against(others, references)
    non_mated = others_against.similarities
    rows = [_row(REAL, leave_one_out(references), non_mated)]
    if untrained:
        rows.append(_row(UNTRAINED, against(untrained, references), non_mated))
    rows.append(_row(DRAWN, against(images, references), non_mated))

    def row_of(name: str, chosen: list[Observation]) -> list[Row]:
        return [_row(name, against(chosen, references), non_mated)] if chosen else []

    ages = sorted({image.age for image in images if image.age is not None}, key=_years)
    by_age = [row for age in ages for row in row_of(display_name(age), [image for image in images if image.age == age])]
    by_gap = [
        row
        for name in (name for _, name in GAPS)
        for row in row_of(name, [image for image in images if photo_age is not None and _gap(image, photo_age) == name])
    ]
    agreement = None
    if estimator:
        known = [(picture, picture.age) for picture in others]
        known += [(photo, photo_age) for photo in references if photo_age is not None]
        agreement = AgeReport(estimator, _agreement([(image, image.age) for image in images]), _agreement(known))
    vectors = [{picture.name: picture.vector for picture in pictures} for pictures in (images, references)]
    report = BiometricReport(
        score(*vectors, matcher), trained_with, photo_age, others_against, rows, by_age, by_gap,
        find_copies(images, references), agreement, list(images), [],
    )  # fmt: skip
    report.remarks.extend(_remarks(report, references))
    return report


def _row(name: str, mated: Comparisons, non_mated: np.ndarray) -> Row:
    values = mated.similarities
    # Leave one out has every pair once, so its pictures are no units to resample.
    units = mated.per_picture if name != REAL else (values,)
    points = [fnmr_at_fmr(values, non_mated, target) for target in TARGETS]
    return Row(
        name,
        mated,
        _mean(units),
        equal_error_rate(values, non_mated).value,
        auc(values, non_mated),
        d_prime(values, non_mated),
        points,
        [_mean([picture < point.threshold for picture in units]) for point in points],
    )


def _mean(units: Sequence[np.ndarray]) -> Interval:
    """The mean of all values in ``units``, resampled over these; where none differs, as of no miss, no interval."""
    parts = [(unit.sum(), unit.size) for unit in units if unit.size]
    found = interval(lambda drawn: np.divide(*np.sum(drawn, axis=0)), parts)
    return found if found.low < found.high else replace(found, low=np.nan, high=np.nan)


def _years(age: str | int) -> float:
    return age if isinstance(age, int) else class_middle(age)


def _gap(image: Observation, photo_age: int) -> str | None:
    if image.age is None:
        return None
    years = abs(_years(image.age) - photo_age)
    return next(name for least, name in reversed(GAPS) if years >= least)


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


def _remarks(report: BiometricReport, references: Sequence[Observation]) -> list[str]:
    """What the numbers can and cannot say, in sentences."""
    photos, images = len(with_face(references)), len(report.images)
    remarks = [*_matchers(report), *_support(report, photos)]
    if not photos:
        remarks.append("No face was found in any reference photo, so there is nothing to compare with.")
    elif photos == 1:
        remarks.append(
            "Only one reference photo has a face: real photos cannot be compared with each other, and copies cannot be "
            "told from likenesses."
        )
    remarks.append("All mated comparisons are of one subject. Intervals resample its pictures and hold of it alone.")
    if failures := report.score.failures_to_detect:
        remarks.append(
            f"No face was found in {failures} of {images} drawn pictures; they are in no similarity or rate."
        )
    if ageless := sum(image.age is None for image in report.images):
        remarks.append(f"{ageless} of {images} drawn pictures have no known age and are in no age's row.")
    if report.ages and not report.ages.known.pictures:
        remarks.append("The age estimator's own error is unknown here: no photo of known age was given.")
    return remarks


def _matchers(report: BiometricReport) -> list[str]:
    scored = report.score.matcher
    if not report.trained_with:
        return [f"Scored with {scored}."]
    sentences = [f"The identity loss was trained with {report.trained_with}; scored with {scored}."]
    if report.trained_with == scored:
        sentences.append("That is one and the same matcher, so the similarities flatter: score with another.")
    return sentences


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

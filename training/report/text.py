"""The report as sentences and table cells, shared by the terminal and the page."""

import math
from collections.abc import Callable

from ..ages import AGE_CLASSES, DISPLAY_NAMES, display_name
from ..biometrics.bootstrap import Interval
from ..biometrics.comparisons import Comparisons
from ..biometrics.rates import OperatingPoint, least_fmr, supports
from ..biometrics.verdicts import MEANINGS, verdict
from ..faces.embedders import Thresholds
from .build import TARGETS, AgeAgreement, BiometricReport, Row

NOT_SUPPORTED = "not supported"


def number(value: float | None, digits: int = 3) -> str:
    """Formats a number; a dash if it is None or nan."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def percent(value: float) -> str:
    """Formats a share as a percentage; a dash if it is nan."""
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def mean(compared: Comparisons) -> float | None:
    """Returns the mean of the mean similarities per picture; None if no picture has one."""
    means = [value for value in compared.means if value is not None]
    return sum(means) / len(means) if means else None


def score_table(
    images: Comparisons, references: Comparisons, matcher: str, thresholds: Thresholds | None = None
) -> str:
    """Returns one line per image, then means and failures. ``thresholds`` add verdicts."""
    width = max(len(picture.name) for picture in (*images.pictures, *references.pictures))
    lines = [f"matcher: {matcher}", f"{'image':{width}}  {'age':13}  similarity (mean  best)  face"]
    for index, (picture, similarity) in enumerate(zip(images.pictures, images.means, strict=True)):
        best = images.best(index)
        age = "" if picture.age is None else display_name(picture.age)
        face = "NOT FOUND" if picture.face is None else picture.doubt or "found"
        if result := verdict(similarity, thresholds):
            face = f"{face:9}  {MEANINGS[result]}"
        similarities = f"{_narrow(similarity):>16}  {_narrow(best and best[0])}"
        lines.append(f"{picture.name:{width}}  {age:13}  {similarities}  {face}")
    count, missing = len(images.pictures), images.failures_to_detect
    photos, faceless = len(references.pictures), references.failures_to_detect
    lines.append(f"mean of {count - missing} faces: {_narrow(mean(images))}")
    if photos - faceless > 1:
        yardstick = f"yardstick (each of {photos - faceless} reference photos against the others)"
        lines.append(f"{yardstick}: {_narrow(mean(references))}")
    elif faceless < photos:
        lines.append("There is no yardstick: this needs at least two reference photos with a face.")
    if missing:
        lines.append(f"failures to detect: {missing} of {count} images")
    if faceless == photos:
        lines.append(f"No face was detected in any of the {photos} reference photos, so there is nothing to compare.")
    elif faceless:
        lines.append(f"reference photos without a face: {faceless} of {photos}")
    return "\n".join(lines)


def _narrow(value: float | None) -> str:
    return "  -  " if value is None else f"{value:5.3f}"


def table(report: BiometricReport, title: str, rows: list[Row], full: bool) -> list[list[str]]:
    """Returns a line of headings, then one line per row. Without non-mated comparisons there are no rates.

    ``full`` shows all operating points and the intervals of FNMR; otherwise only supported operating points.
    """
    non_mated = report.non_mated.similarities.size
    targets = [target for target in TARGETS if full or supports(non_mated, target)] if non_mated else []
    lines = [[title, "images", "no face", "comparisons", "mean similarity", "95 % interval"]]
    if non_mated:
        lines[0] += ["EER", "AUC", "d'", *(f"FNMR at FMR {100 * target:g} %" for target in targets)]
    for row in rows:
        mated = row.comparisons
        counts = [len(mated.pictures), mated.failures_to_detect, mated.similarities.size]
        line = [row.name, *map(str, counts), number(row.mean.value), _limits(row.mean, number) or "-"]
        if non_mated:
            line += [_eer(row, non_mated), number(row.auc), number(row.d_prime, 2)]
            for point, fnmr in zip(row.points, row.fnmr, strict=True):
                if point.target in targets:
                    line.append(_point(point, fnmr if full else None))
        lines.append(line)
    return lines


def across_table(report: BiometricReport) -> list[list[str]]:
    """Returns requested age x photo age: a line of headings, then one line per row. Empty if there is no such table."""
    if not report.across:
        return []
    lines = [["similarity to photos of", *report.across.columns]]
    for label, rows in (("generated", report.across.drawn), ("real photos", report.across.real)):
        for age, cells in rows.items():
            values = [f"{number(cell.mean)} ({cell.comparisons})" if cell.comparisons else "-" for cell in cells]
            lines.append([f"{label}, {DISPLAY_NAMES[age]}", *values])
    return lines


def _limits(interval: Interval, form: Callable[[float], str]) -> str:
    return "" if math.isnan(interval.low) else f"{form(interval.low)} to {form(interval.high)}"


def _eer(row: Row, non_mated: int) -> str:
    """Formats the EER. The EER is also an FMR, so below 3/n (the rule of three) only that bound is shown."""
    if math.isnan(row.eer) or supports(non_mated, row.eer):
        return percent(row.eer)
    return NOT_SUPPORTED if non_mated <= 3 else f"< {percent(least_fmr(non_mated))}"


def _point(point: OperatingPoint, fnmr: Interval | None) -> str:
    if not point.supported:
        return NOT_SUPPORTED
    limits = fnmr and _limits(fnmr, percent)
    return percent(point.fnmr) + (f" ({limits})" if limits else "")


def copies_sentences(report: BiometricReport) -> list[str]:
    """Returns the copy check as sentences; empty if there is nothing to check."""
    copies = report.copies
    if copies.chance is None or not copies.pictures:
        return []
    flagged = copies.memorised
    return [
        f"Memorised: {len(flagged)} of {len(copies.pictures)} faces"
        + (f" ({', '.join(flagged)})." if flagged else "."),
        f"A memorised face is closer to one photo, in embedding and in pixels, than any two of the {copies.photos} "
        f"photos are to each other (cosine {number(copies.nearest_pair_embedding)}, pixel correlation "
        f"{number(copies.nearest_pair_pixels)}). A new photo of the subject would be flagged with a probability of at "
        f"most {copies.chance:.0%}.",
    ]


def ages_sentences(report: BiometricReport) -> list[str]:
    """Returns the age accuracy as sentences, with the accuracy of the estimator itself."""
    if not report.ages:
        return []
    lines = [f"Ages of the generated images, estimated by {report.ages.estimator}: {_accuracy(report.ages.drawn)}."]
    if report.ages.errors:
        lines.append(report.ages.errors.summary)
    if report.ages.known.pictures:
        lines.append(f"The same estimator on real photos of known age: {_accuracy(report.ages.known)}.")
    return lines


def _accuracy(agreement: AgeAgreement) -> str:
    if not agreement.pictures:
        return "no image has both a face and a known age"
    return (
        f"{percent(agreement.right)} of {agreement.pictures} correct, mean absolute error "
        f"{agreement.mean_absolute_error:.1f} years"
    )


def text(report: BiometricReport) -> str:
    """Returns the report for the terminal: one line per image, then the tables, then the remarks."""
    parts = [score_table(report.images, report.references, report.matcher, report.facts.thresholds)]
    for title, rows in (("against", report.rows), ("requested age", report.by_age), ("age gap", report.by_gap)):
        if rows and report.non_mated.similarities.size:
            parts.append(_aligned(table(report, title, rows, full=False)))
    if report.across:
        parts.append(_aligned(across_table(report)))
    if report.ages and report.ages.drawn.pictures:
        names = [DISPLAY_NAMES[name] for name in AGE_CLASSES]
        counts = [list(map(str, row)) for row in report.ages.drawn.confusion]
        rows = [[name, *row] for name, row in zip(names, counts, strict=True)]
        parts.append(_aligned([["requested, estimated", *names], *rows]))
    parts.append("\n".join([*copies_sentences(report), *ages_sentences(report), *report.remarks]))
    return "\n\n".join(parts)


def _aligned(lines: list[list[str]]) -> str:
    """Aligns the columns. Each word of a heading gets its own line, which keeps the columns narrow."""
    heads = [heading.replace(" %", "\N{NO-BREAK SPACE}%").split(" ") for heading in lines[0]]
    tall = max(map(len, heads))
    lines = [*map(list, zip(*([""] * (tall - len(head)) + head for head in heads), strict=True)), *lines[1:]]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )

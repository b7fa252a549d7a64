"""The report in words and table cells, the same for the terminal and for the page."""

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
    """A number, or a dash where it does not exist."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def percent(value: float) -> str:
    """A share in per cent, or a dash where it does not exist."""
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def mean(compared: Comparisons) -> float | None:
    """The mean over the pictures with a similarity of their means; None over none."""
    known = [value for value in compared.means if value is not None]
    return sum(known) / len(known) if known else None


def score_table(
    images: Comparisons, references: Comparisons, matcher: str, thresholds: Thresholds | None = None
) -> str:
    """Every picture, with a verdict where the matcher's thresholds are known, and the references among themselves."""
    width = max(len(picture.name) for picture in (*images.pictures, *references.pictures))
    lines = [f"matcher: {matcher}", f"{'image':{width}}  {'age':13}  similarity (mean  best)  face"]
    for index, (picture, similarity) in enumerate(zip(images.pictures, images.means, strict=True)):
        best = images.best(index)
        age = "" if picture.age is None else display_name(picture.age)
        face = "NOT FOUND" if picture.face is None else picture.doubt or "found"
        if meant := verdict(similarity, thresholds):
            face = f"{face:9}  {MEANINGS[meant]}"
        shown = f"{_narrow(similarity):>16}  {_narrow(best and best[0])}"
        lines.append(f"{picture.name:{width}}  {age:13}  {shown}  {face}")
    count, missing = len(images.pictures), images.failures_to_detect
    photos, faceless = len(references.pictures), references.failures_to_detect
    lines.append(f"mean of {count - missing} faces: {_narrow(mean(images))}")
    if photos - faceless > 1:
        yardstick = f"yardstick, each of {photos - faceless} references against the others"
        lines.append(f"{yardstick}: {_narrow(mean(references))}")
    elif faceless < photos:
        lines.append("There is no yardstick: it takes two or more references with a face to say how alike they are.")
    if missing:
        lines.append(f"failures to detect: {missing} of {count} images")
    if faceless == photos:
        lines.append(f"No face was found in any of the {photos} reference photos: nothing to compare.")
    elif faceless:
        lines.append(f"references without a face: {faceless} of {photos}")
    return "\n".join(lines)


def _narrow(value: float | None) -> str:
    return "  -  " if value is None else f"{value:5.3f}"


def table(report: BiometricReport, title: str, rows: list[Row], full: bool) -> list[list[str]]:
    """A line of headings and a line a row. Without non-mated comparisons there are no rates.

    ``full`` has every operating point, and the intervals of FNMR; without it those that are supported.
    """
    non_mated = report.non_mated.similarities.size
    targets = [target for target in TARGETS if full or supports(non_mated, target)] if non_mated else []
    lines = [[title, "pictures", "no face", "comparisons", "mean similarity", "95 % interval"]]
    if non_mated:
        lines[0] += ["EER", "AUC", "d'", *(f"FNMR at FMR {100 * target:g} %" for target in targets)]
    for row in rows:
        mated = row.comparisons
        counts = [len(mated.pictures), mated.failures_to_detect, mated.similarities.size]
        line = [row.name, *map(str, counts), number(row.mean.value), _limits(row.mean, number) or "-"]
        if non_mated:
            line += [_eer(row, non_mated), number(row.auc), number(row.d_prime, 2)]
            for point, missed in zip(row.points, row.fnmr, strict=True):
                if point.target in targets:
                    line.append(_point(point, missed if full else None))
        lines.append(line)
    return lines


def across_table(report: BiometricReport) -> list[list[str]]:
    """Asked age x photo age, a line of headings and a line a row; none where there is no such table."""
    if not report.across:
        return []
    lines = [["similarity to photos of", *report.across.columns]]
    for kind, rows in (("drawn", report.across.drawn), ("real photos", report.across.real)):
        for age, cells in rows.items():
            shown = [f"{number(cell.mean)} ({cell.comparisons})" if cell.comparisons else "-" for cell in cells]
            lines.append([f"{kind}, {DISPLAY_NAMES[age]}", *shown])
    return lines


def _limits(interval: Interval, words: Callable[[float], str]) -> str:
    return "" if math.isnan(interval.low) else f"{words(interval.low)} to {words(interval.high)}"


def _eer(row: Row, non_mated: int) -> str:
    """The EER's FMR is an operating point like any other: below 3/n it is not known how far below."""
    if math.isnan(row.eer) or supports(non_mated, row.eer):
        return percent(row.eer)
    return NOT_SUPPORTED if non_mated <= 3 else f"< {percent(least_fmr(non_mated))}"


def _point(point: OperatingPoint, missed: Interval | None) -> str:
    if not point.supported:
        return NOT_SUPPORTED
    limits = missed and _limits(missed, percent)
    return percent(point.fnmr) + (f" ({limits})" if limits else "")


def copies_sentences(report: BiometricReport) -> list[str]:
    """The copy-paste check in words; none where there is nothing to check."""
    copies = report.copies
    if copies.chance is None or not copies.pictures:
        return []
    flagged = copies.memorised
    return [
        f"Memorised, that is nearer to a photo than any two of the {copies.photos} photos are to each other (cosine "
        f"{number(copies.nearest_pair_embedding)}, pixel correlation {number(copies.nearest_pair_pixels)}): "
        f"{len(flagged)} of {len(copies.pictures)} faces" + (f", {', '.join(flagged)}." if flagged else "."),
        f"A fresh photo of the person would be flagged with a probability of at most {copies.chance:.0%}.",
    ]


def ages_sentences(report: BiometricReport) -> list[str]:
    """How far the ages are right, with the estimator's own error beside it."""
    if not report.ages:
        return []
    lines = [f"Ages as {report.ages.estimator} sees them, of drawn pictures: {_share_right(report.ages.drawn)}."]
    if report.ages.errors:
        lines.append(report.ages.errors.sentence)
    if report.ages.known.pictures:
        lines.append(f"Its own error, on photos of known age: {_share_right(report.ages.known)}.")
    return lines


def _share_right(agreement: AgeAgreement) -> str:
    if not agreement.pictures:
        return "none has both a face and a known age"
    return (
        f"{percent(agreement.right)} of {agreement.pictures} are right, mean absolute error "
        f"{agreement.mean_absolute_error:.1f} years"
    )


def text(report: BiometricReport) -> str:
    """The report as people read it in a terminal: every picture, then one line a kind of comparison, then remarks."""
    parts = [score_table(report.images, report.references, report.matcher, report.facts.thresholds)]
    for title, rows in (("against", report.rows), ("drawn at", report.by_age), ("age gap", report.by_gap)):
        if rows and report.non_mated.similarities.size:
            parts.append(_aligned(table(report, title, rows, full=False)))
    if report.across:
        parts.append(_aligned(across_table(report)))
    if report.ages and report.ages.drawn.pictures:
        names = [DISPLAY_NAMES[name] for name in AGE_CLASSES]
        counts = [list(map(str, row)) for row in report.ages.drawn.confusion]
        rows = [[name, *row] for name, row in zip(names, counts, strict=True)]
        parts.append(_aligned([["asked, estimated", *names], *rows]))
    parts.append("\n".join([*copies_sentences(report), *ages_sentences(report), *report.remarks]))
    return "\n\n".join(parts)


def _aligned(lines: list[list[str]]) -> str:
    """Columns as wide as their cells, with each word of a heading in a line of its own, which keeps them narrow."""
    heads = [words.replace(" %", "\N{NO-BREAK SPACE}%").split(" ") for words in lines[0]]
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

"""The report in words and table cells, the same for the terminal and for the page."""

import math

from .ages import AGE_CLASSES, DISPLAY_NAMES
from .rates import OperatingPoint
from .report import TARGETS, AgeAgreement, BiometricReport, Row

COUNTS = ("pictures", "no face", "comparisons", "mean similarity", "95 % interval")
RATES = ("EER", "AUC", "d'", *(f"FNMR at FMR {100 * target:g} %" for target in TARGETS))
NOT_SUPPORTED = "not supported"


def number(value: float | None, digits: int = 3) -> str:
    """A number, or a dash where it does not exist."""
    return "-" if value is None or math.isnan(value) else f"{value:.{digits}f}"


def percent(value: float) -> str:
    """A share in per cent, or a dash where it does not exist."""
    return "-" if math.isnan(value) else f"{100 * value:.1f} %"


def headings(report: BiometricReport) -> tuple[str, ...]:
    """Of the columns behind a row's name; without non-mated comparisons there are no rates."""
    return COUNTS + (RATES if report.non_mated.similarities.size else ())


def cells(report: BiometricReport, row: Row) -> list[str]:
    """What stands under ``headings``."""
    mated, mean, non_mated = row.comparisons, row.mean, report.non_mated.similarities.size
    counts = [
        str(mated.pictures),
        str(mated.failures_to_detect),
        str(mated.similarities.size),
        number(mean.value),
        "-" if math.isnan(mean.low) else f"{mean.low:.3f} to {mean.high:.3f}",
    ]
    if not non_mated:
        return counts
    return [*counts, _eer(row, non_mated), number(row.auc), number(row.d_prime, 2), *map(_point, row.points)]


def _eer(row: Row, non_mated: int) -> str:
    """The EER's FMR is an operating point like any other: below 3/n it is not known how far below."""
    if math.isnan(row.eer) or row.eer >= 3 / non_mated:
        return percent(row.eer)
    return NOT_SUPPORTED if non_mated <= 3 else f"< {percent(3 / non_mated)}"


def _point(point: OperatingPoint) -> str:
    return percent(point.fnmr) if point.supported else NOT_SUPPORTED


def copies_sentences(report: BiometricReport) -> list[str]:
    """The copy-paste check in words; none where there is nothing to check."""
    copies = report.copies
    if copies.chance is None or not copies.pictures:
        return []
    flagged = copies.memorised
    return [
        f"Copies: {len(flagged)} of {len(copies.pictures)} faces are nearer to a photo than any two of the "
        f"{copies.photos} photos are to each other (cosine {number(copies.nearest_pair_embedding)}, pixel correlation "
        f"{number(copies.nearest_pair_pixels)})" + (f": {', '.join(flagged)}." if flagged else "."),
        f"A fresh photo of the person would be flagged with a probability of at most {copies.chance:.0%}.",
    ]


def ages_sentences(report: BiometricReport) -> list[str]:
    """How far the ages are right, with the estimator's own error beside it."""
    if not report.ages:
        return []
    lines = [f"Ages as {report.ages.estimator} sees them, of drawn pictures: {_agreement(report.ages.drawn)}."]
    if report.ages.known.pictures:
        lines.append(f"Its own error, on real faces of known age: {_agreement(report.ages.known)}.")
    return lines


def _agreement(agreement: AgeAgreement) -> str:
    if not agreement.pictures:
        return "none has both a face and a known age"
    return (
        f"{percent(agreement.right)} of {agreement.pictures} are right, mean absolute error "
        f"{agreement.mean_absolute_error:.1f} years"
    )


def text(report: BiometricReport) -> str:
    """The report as people read it in a terminal: every picture, then one line a kind of comparison, then remarks."""
    parts = [report.score.table()]
    for title, rows in (("against", report.rows), ("drawn at", report.by_age), ("age gap", report.by_gap)):
        if rows and report.non_mated.similarities.size:
            parts.append(_aligned([(title, *headings(report)), *((row.name, *cells(report, row)) for row in rows)]))
    if report.ages and report.ages.drawn.pictures:
        names = [DISPLAY_NAMES[name] for name in AGE_CLASSES]
        lines = [("asked \\ estimated", *names)]
        lines += [(name, *map(str, counts)) for name, counts in zip(names, report.ages.drawn.confusion, strict=True)]
        parts.append(_aligned(lines))
    parts.append("\n".join([*copies_sentences(report), *ages_sentences(report), *report.remarks]))
    return "\n\n".join(parts)


def _aligned(lines: list[tuple[str, ...]]) -> str:
    """Columns as wide as their cells; long headings over as many lines as they have words, which keeps them narrow."""
    heads = [_wrapped(words) for words in lines[0]]
    tall = max(map(len, heads))
    lines = [tuple(head[row] if row < len(head) else "" for head in heads) for row in range(tall)] + lines[1:]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _wrapped(words: str) -> list[str]:
    first, *rest = words.split(" at ") if " at " in words else words.split(" ", 1)
    return [first, *rest]

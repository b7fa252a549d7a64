"""The report as one self-contained, printable HTML page."""

import base64
import io
from collections.abc import Mapping
from itertools import compress
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from ..ages import AgeEstimate, display_name
from ..biometrics.verdicts import LIKELY, SAME, UNLIKE, verdict
from ..pictures.photos import Photo
from .build import BiometricReport, Row
from .plots import plots
from .text import NOT_SUPPORTED, across_table, ages_sentences, copies_sentences, mean, number, table

MARKS = {SAME: "\N{CHECK MARK}", LIKELY: "\N{ALMOST EQUAL TO}", UNLIKE: "\N{BALLOT X}"}
THUMBNAIL = 192  # px; shown at half this size

CAPTIONS = {
    "similarities": "The further the subject's similarities lie to the right of other people's, the better. Dashed "
    "lines: thresholds for the FMR shown, if there are enough comparisons.",
    "det": "Lower and further left is better. Grey: too few comparisons with other people. Rates of 0 lie on the edge.",
    "by-age": "One dot per generated image.",
    "ages": "On the diagonal, the estimated class is the requested one. Right: the estimator on real photos.",
}
NO_NON_MATED = "The closer the generated images are to the photos' similarities to each other, the better."
COLUMNS = ("age", "looks like", "mean similarity", "best", "best photo", "pixel correlation", "with photo")


def page(report: BiometricReport, pictures: Mapping[str, Photo]) -> str:
    """Returns the HTML. ``pictures`` maps names in the report to generated images."""

    def rates(rows: list[Row]) -> list[list[str]]:
        return table(report, "", rows, full=True) if rows else []

    captions = CAPTIONS if report.non_mated.similarities.size else CAPTIONS | {"similarities": NO_NON_MATED}
    shown = _pictures(report, pictures)
    filled = [any(image["cells"][column] for image in shown) for column in range(len(COLUMNS))]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    return environment.get_template("page.html.jinja").render(
        not_supported=NOT_SUPPORTED,
        lead=_lead(report),
        rows=rates(report.rows),
        remarks=report.remarks,
        plots=[(name, _data(picture, "PNG"), captions[name]) for name, picture in plots(report).items()],
        by_age=rates(report.by_age),
        by_gap=rates(report.by_gap),
        across=across_table(report),
        ages_and_copies=ages_sentences(report) + copies_sentences(report),
        columns=list(compress(COLUMNS, filled)),
        pictures=[image | {"cells": list(compress(image["cells"], filled))} for image in shown],
    )


def _lead(report: BiometricReport) -> str:
    count = len(report.images.pictures)
    return (
        f"{count} generated images, {count - report.images.failures_to_detect} with a face. Mean similarity to the "
        f"photos: {number(mean(report.images))}; of the photos to each other: {number(mean(report.references))}."
    )


def _pictures(report: BiometricReport, pictures: Mapping[str, Photo]) -> list[dict]:
    """Returns the rows of the last table, one per generated image."""
    copies = {copy.image: copy for copy in report.copies.pictures}
    shown = []
    for index, (image, similarity) in enumerate(zip(report.images.pictures, report.images.means, strict=True)):
        best, copy, estimate = report.images.best(index), copies.get(image.name), image.estimate
        cells = [
            "" if image.age is None else display_name(image.age),
            _apparent_age(estimate, report) if estimate else "",
            number(similarity),
            number(best and best[0]),
            best[1].name if best else "",
            number(copy.pixels if copy else None),
            copy.nearest_by_pixels if copy else "",
        ]
        fault = "no face" if image.face is None else "memorised" if copy and copy.memorised else ""
        image_verdict = verdict(similarity, report.facts.thresholds)
        thumbnail = _thumbnail(pictures.get(image.name))
        shown.append(
            {"name": image.name, "thumbnail": thumbnail, "cells": cells, "fault": fault}
            | {
                "verdict": f"{MARKS[image_verdict]} {image_verdict}" if image_verdict else "",
                "doubt": image.doubt or "",
            }
        )
    return shown


def _apparent_age(estimate: AgeEstimate, report: BiometricReport) -> str:
    errors = report.ages.errors if report.ages else None
    error = f" \N{PLUS-MINUS SIGN} {errors.mean_absolute:.0f}" if errors else ""
    return f"{display_name(estimate.age_class)}, {estimate.years:.0f}{error}"


def _thumbnail(photo: Photo | None) -> str:
    if photo is None:
        return ""
    small = photo.image().copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return _data(small, "JPEG")


def _data(picture: Image.Image, file_format: str) -> str:
    memory = io.BytesIO()
    picture.save(memory, file_format)
    return f"data:image/{file_format.lower()};base64,{base64.b64encode(memory.getvalue()).decode()}"

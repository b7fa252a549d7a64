"""Writes the report: JSON with all results, CSV with one row per image, PNG plots, and the HTML page."""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..biometrics.comparisons import Comparisons
from ..biometrics.rates import least_fmr, supports
from ..biometrics.verdicts import verdict
from ..faces.observation import Observation
from ..files import written
from ..pictures.photos import Photo, save
from ..records import finite
from .build import TARGETS, BiometricReport, Row
from .page import page
from .plots import PLOTS, plots
from .text import mean

REPORT_SUFFIXES = (".json", ".csv", ".html", ".png")
_NO_RATES = dict.fromkeys(("threshold", "fmr", "fnmr", "interval"))


def files_of(path: Path) -> list[Path]:
    """Returns the files that ``write`` may write for ``path``: for .png one per plot, named after it."""
    return [_plot_file(path, name) for name in PLOTS] if path.suffix.lower() == ".png" else [path]


def _plot_file(path: Path, name: str) -> Path:
    return path.with_name(f"{path.stem}-{name}.png")


def write(report: BiometricReport, path: Path, pictures: Mapping[str, Photo]) -> list[Path]:
    """Writes the report in the format of the suffix of ``path`` and returns the files.

    .png writes one file per plot and appends the plot's name to the stem. ``pictures`` maps names to generated images
    for the page, which opens one at a time.
    """
    suffix = path.suffix.lower()
    if suffix == ".png":
        files = {_plot_file(path, name): picture for name, picture in plots(report).items()}
        for file, picture in files.items():
            save(picture, file)
        return list(files)
    errors = "backslashreplace"  # file names may not be UTF-8
    with written(path) as temporary, temporary.open("w", newline="", encoding="utf-8", errors=errors) as file:
        if suffix == ".csv":
            rows = [{"set": group} | row for group, rows in _picture_rows(report).items() for row in rows]
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows({key: _cell(value) for key, value in row.items()} for row in rows)
        elif suffix == ".html":
            file.write(page(report, pictures))
        else:
            json.dump(as_json(report), file, indent=2, allow_nan=False)
    return [path]


def _cell(value: Any) -> Any:
    """Escapes text that a spreadsheet would run as a formula, because file names are not trusted."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def as_json(report: BiometricReport) -> dict:
    """Returns all results as plain types. Numbers that are undefined or not supported are None."""
    return finite(
        {
            "summary": _summary(report),
            "matcher": report.matcher,
            "trained_with": report.trained_with,
            "photo_age": report.photo_age,
            "targets": list(TARGETS),
            "non_mated": _counts(report.non_mated),
            "rows": [_rates(report, row) for row in report.rows],
            "by_age": [_rates(report, row) for row in report.by_age],
            "by_age_gap": [_rates(report, row) for row in report.by_gap],
            "across_ages": report.across and asdict(report.across),
            "copies": asdict(report.copies) | {"chance": report.copies.chance},
            "ages": _ages(report),
            "remarks": report.remarks,
            **({"thresholds": asdict(report.facts.thresholds)} if report.facts.thresholds else {}),
            **_picture_rows(report),
        }
    )


def _summary(report: BiometricReport) -> dict:
    """Returns counts and means over the images with a face; a mean is None without any."""
    images, references = report.images, report.references
    return {
        "matcher": report.matcher,
        "images": len(images.pictures),
        "failures_to_detect": images.failures_to_detect,
        "mean_similarity": mean(images),
        "references": len(references.pictures),
        "references_without_face": references.failures_to_detect,
        "leave_one_out_similarity": mean(references),
        "memorised": len(report.copies.memorised),
    }


def _ages(report: BiometricReport) -> dict | None:
    """Returns the age report; ``errors`` only if they were measured."""
    ages = asdict(report.ages) if report.ages else None
    return ages and {name: value for name, value in ages.items() if value is not None}


def _picture_rows(report: BiometricReport) -> dict[str, list[dict]]:
    """Returns one row per generated image and per reference, with the same keys."""
    copies = {copy.image: copy for copy in report.copies.pictures}
    rows: dict[str, list[dict]] = {}
    for group, compared in (("images", report.images), ("references", report.references)):
        rows[group] = []
        for number, (picture, similarity) in enumerate(zip(compared.pictures, compared.means, strict=True)):
            best, copy = compared.best(number), copies.get(picture.name) if group == "images" else None
            rows[group].append(
                {
                    "image": picture.name,
                    "age": picture.age,
                    "face_found": picture.face is not None,
                    "mean_similarity": similarity,
                    "best_similarity": best and best[0],
                    "best_reference": best and best[1].name,
                    "estimated_years": picture.estimate and picture.estimate.years,
                    "estimated_age_class": picture.estimate and picture.estimate.age_class,
                    "nearest_by_pixels": copy and copy.nearest_by_pixels,
                    "pixel_correlation": copy and copy.pixels,
                    "memorised": copy and copy.memorised,
                    **_verdict_fields(report, picture, similarity),
                }
            )
    return rows


def _verdict_fields(report: BiometricReport, picture: Observation, similarity: float | None) -> dict:
    """Returns verdict and doubt if the matcher has thresholds."""
    thresholds = report.facts.thresholds
    return {"verdict": verdict(similarity, thresholds), "doubt": picture.doubt} if thresholds else {}


def _counts(comparisons: Comparisons) -> dict:
    values = comparisons.similarities
    return {
        "pictures": len(comparisons.pictures),
        "failures_to_detect": comparisons.failures_to_detect,
        "comparisons": values.size,
        "mean_similarity": float(values.mean()) if values.size else None,
    }


def _rates(report: BiometricReport, row: Row) -> dict:
    non_mated = report.non_mated.similarities.size
    supported = supports(non_mated, row.eer)
    return {
        "name": row.name,
        **_counts(row.comparisons),
        "interval": [row.mean.low, row.mean.high],
        "eer": row.eer if supported else None,
        "eer_below": None if supported or not non_mated else min(1.0, least_fmr(non_mated)),
        "auc": row.auc,
        "d_prime": row.d_prime,
        "operating_points": [
            asdict(point) | ({"interval": [fnmr.low, fnmr.high]} if point.supported else _NO_RATES)
            for point, fnmr in zip(row.points, row.fnmr, strict=True)
        ],
    }

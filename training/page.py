"""The report as one HTML page that holds everything it shows, on white, and prints."""

import base64
import io
from html import escape

from PIL import Image

from .ages import display_name
from .copies import Copy
from .plots import plots
from .report import BiometricReport, Row
from .report_text import NOT_SUPPORTED, ages_sentences, copies_sentences, number, table

THUMBNAIL = 192  # px; shown at half of it

CAPTIONS = {
    "similarities": "The further the subject's similarities lie to the right of other people's, the better. Dashed: "
    "thresholds at which the FMR is at most the one named, where the comparisons support it.",
    "det": "Lower and further left is better. Grey: too few comparisons with other people. Rates of 0 lie on the edge.",
    "by-age": "One dot a picture.",
    "ages": "On the diagonal the age is right. The right half is what the estimator gets wrong on photos.",
}

STYLE = """
:root { color-scheme: light }
body { font: 15px/1.45 system-ui, "Segoe UI", "Liberation Sans", sans-serif; color: #1e1e1e; background: #fff;
  max-width: 1120px; margin: 2rem auto; padding: 0 1.5rem }
h1 { font-size: 1.7rem; margin: 0 0 .3rem } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem }
table { border-collapse: collapse; font-size: .78rem; font-variant-numeric: tabular-nums }
td { white-space: nowrap } small { color: #555 }
th, td { padding: .3rem .45rem; text-align: right; border-bottom: 1px solid #ddd; vertical-align: middle }
th { font-weight: 600; vertical-align: bottom; border-bottom: 2px solid #888 }
th:first-child, td:first-child { text-align: left }
.not { color: #777; font-style: italic } .bad { color: #b00020; font-weight: 600 }
figure { margin: 1rem 0; break-inside: avoid } figure img { width: 100%; max-width: 640px; border: 1px solid #ddd }
figcaption { font-size: .84rem; color: #555; max-width: 640px }
.plots { display: grid; grid-template-columns: 1fr 1fr; gap: 0 1.5rem }
.scroll { overflow-x: auto } tr { break-inside: avoid } td img { display: block; max-width: 96px; max-height: 96px }
li { margin: .25rem 0 }
@media (max-width: 800px) { .plots { grid-template-columns: 1fr } }
@page { margin: 14mm } @media print { body { margin: 0; padding: 0; font-size: 12px } .scroll { overflow: visible }
  table { font-size: 9px } th, td { padding: .2rem .3rem } td img { max-width: 56px; max-height: 56px }
  h2 { break-after: avoid } }
"""


def page(report: BiometricReport, pictures: dict[str, Image.Image]) -> str:
    """The whole page. ``pictures`` are the drawn ones by their names in the report."""
    summary = report.score.summary()
    faces = summary["images"] - summary["failures_to_detect"]
    lead = (
        f"{summary['images']} drawn pictures, {faces} with a face; mean similarity to the photos "
        f"{number(summary['mean_similarity'])}, of the photos to each other "
        f"{number(summary['leave_one_out_similarity'])}."
    )
    parts = [
        f"<h1>Identity report</h1><p>{escape(lead)}</p>",
        _section("How alike", _rows(report, report.rows)),
        _section("What these numbers can say", _list(report.remarks)),
        _section("Plots", f'<div class="plots">{"".join(_figure(*plot) for plot in plots(report).items())}</div>'),
        _section("By age", _rows(report, report.by_age)) if report.by_age else "",
        _section("By age gap to the photos", _rows(report, report.by_gap)) if report.by_gap else "",
        _section("Age and copies", _list(ages_sentences(report) + copies_sentences(report)))
        if report.ages or report.copies.pictures
        else "",
        _section("Every picture", _pictures(report, pictures)),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>Identity report</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body>{''.join(parts)}</body></html>\n"
    )


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{content}\n"


def _list(sentences: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences) + "</ul>"


def _table(head: list[str], rows: list[list[str]]) -> str:
    """A table of cells that are HTML already."""
    lines = ["".join(f"<th>{cell}</th>" for cell in head)]
    lines += ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    return '<div class="scroll"><table>' + "".join(f"<tr>{line}</tr>" for line in lines) + "</table></div>"


def _rows(report: BiometricReport, rows: list[Row]) -> str:
    def cell(words: str) -> str:
        if words == NOT_SUPPORTED:
            return f'<span class="not">{words.replace(" ", "<br>")}</span>'
        value, bracket, limits = escape(words).partition(" (")
        return f"{value}<br><small>{limits.rstrip(')')}</small>" if bracket else value

    head, *lines = table(report, "", rows, full=True)
    return _table(list(map(escape, head)), [list(map(cell, line)) for line in lines])


def _figure(name: str, picture: Image.Image) -> str:
    return f'<figure><img alt="{name}" src="{_data(picture, "PNG")}"><figcaption>{CAPTIONS[name]}</figcaption></figure>'


def _pictures(report: BiometricReport, pictures: dict[str, Image.Image]) -> str:
    copies: dict[str, Copy] = {copy.image: copy for copy in report.copies.pictures}
    estimates = {image.name: image.estimate for image in report.images}
    head = [
        "picture",
        "",
        "age",
        "looks like",
        "mean similarity",
        "best",
        "best photo",
        "pixel correlation",
        "photo",
        "",
    ]
    rows = []
    for row in report.score.images:
        copy, estimate = copies.get(row.image), estimates[row.image]
        verdict = "no face found" if not row.face_found else "memorised" if copy and copy.memorised else ""
        rows.append([
            escape(row.image),
            _thumbnail(pictures.get(row.image)),
            escape("" if row.age is None else display_name(row.age)),
            escape(f"{display_name(estimate.age_class)}, {estimate.years:.0f}" if estimate else ""),
            number(row.mean_similarity),
            number(row.best_similarity),
            escape(row.best_reference or ""),
            number(copy.pixels if copy else None),
            escape(copy.nearest_by_pixels if copy else ""),
            f'<span class="bad">{verdict}</span>',
        ])  # fmt: skip
    return _table(head, rows)


def _thumbnail(picture: Image.Image | None) -> str:
    if picture is None:
        return ""
    small = picture.copy()
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    return f'<img alt="" src="{_data(small, "JPEG")}">'


def _data(picture: Image.Image, kind: str) -> str:
    memory = io.BytesIO()
    picture.save(memory, kind)
    return f"data:image/{kind.lower()};base64,{base64.b64encode(memory.getvalue()).decode()}"

"""The plots of the report: similarities, DET, similarity by age, and estimated ages."""

from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..ages import AGE_CLASSES, DISPLAY_NAMES
from ..biometrics.rates import det, least_fmr
from ..pictures.chart import COLOURS, HEIGHT, INK, PAPER, SMALL, TEXT, WIDTH, Axes, Colour, with_room
from .build import BASE_ROW, GENERATED_ROW, REAL_ROW, AgeAgreement, BiometricReport

BINS = 40
ROW_COLOURS: dict[str, Colour] = {GENERATED_ROW: COLOURS[0], REAL_ROW: COLOURS[2], BASE_ROW: COLOURS[3]}
NON_MATED = COLOURS[1]


PLOTS = ("similarities", "det", "by-age", "ages")


def plots(report: BiometricReport) -> dict[str, Image.Image]:
    """Returns every plot that has data, by a name that is safe in file names."""
    images = (histogram(report), det_plot(report), by_age(report), confusion(report))
    return {name: image for name, image in zip(PLOTS, images, strict=True) if image}


def histogram(report: BiometricReport) -> Image.Image | None:
    """Plots the shares of mated and non-mated similarities and the supported thresholds; None without data."""
    series = [(row.name, row.comparisons.similarities, ROW_COLOURS[row.name]) for row in report.rows]
    series.append(("other people", report.non_mated.similarities, NON_MATED))
    series = [item for item in series if item[1].size]
    if not series:
        return None
    values = np.concatenate([item[1] for item in series])
    low, high = with_room(values)
    edges = np.linspace(low, high, BINS + 1).tolist()
    shares = [(np.histogram(item[1], edges)[0] / item[1].size).tolist() for item in series]
    top = 1.15 * max(map(max, shares))
    axes = Axes(
        "Similarities to the subject's photos", "cosine similarity", "share of comparisons", (low, high), (0, top)
    )
    for (name, _, colour), share in zip(series, shares, strict=True):
        axes.bars(edges, share, colour)
        axes.key(name, colour)
    points = [point for point in report.row(GENERATED_ROW).points if point.supported]
    axes.uprights([(point.threshold, f"FMR {100 * point.target:g} %") for point in points])
    return axes.picture()


def det_plot(report: BiometricReport) -> Image.Image | None:
    """Plots FNMR against FMR; None without data. FMRs that are not supported are grey. Rates of 0 lie on the edge."""
    rows = [row for row in report.rows if row.comparisons.similarities.size]
    non_mated = report.non_mated.similarities
    if not rows or not non_mated.size:
        return None
    least = min(0.01, 1 / non_mated.size), min(0.01, 1 / max(row.comparisons.similarities.size for row in rows))
    axes = Axes("Detection error trade-off", "FMR", "FNMR", (least[0], 1), (least[1], 1), log=True)
    supported = least_fmr(non_mated.size)
    if supported > least[0]:
        axes.band((least[0], min(1, supported)), None, "not supported")
    for row in rows:
        curve = det(row.comparisons.similarities, non_mated)
        points = zip(curve.fmr, curve.fnmr, strict=True)
        steps = [place for (x, y), (_, after) in pairwise(points) for place in ((x, y), (x, after))]
        axes.line([*steps, (0, 1)], ROW_COLOURS[row.name])  # the last threshold accepts nothing
        axes.key(row.name, ROW_COLOURS[row.name])
    return axes.picture()


def by_age(report: BiometricReport) -> Image.Image | None:
    """Plots the mean similarity of every generated image by age, with means per age and the range of real photos."""
    rows = [row for row in report.by_age if row.comparisons.similarities.size]
    if not rows:
        return None
    means = [[float(values.mean()) for values in row.comparisons.per_picture] for row in rows]
    real, others = report.row(REAL_ROW).comparisons.similarities, report.non_mated.similarities
    low, high = with_room(np.concatenate([*means, real, others.mean(keepdims=True) if others.size else others]))
    axes = Axes("Similarity at each age", "", "mean similarity to the photos", (-0.6, len(rows) - 0.4), (low, high),
                x_names=[row.name for row in rows])  # fmt: skip
    if real.size:
        axes.band(None, tuple(np.percentile(real, [5, 95])), "real photos to each other, 5-95 %")
    if others.size:
        axes.line([(axes.x[0], others.mean()), (axes.x[1], others.mean())], NON_MATED, 3)
        axes.key("other people, mean", NON_MATED)
    for number, values in enumerate(means):
        for value in values:
            axes.dot(number, value, ROW_COLOURS[GENERATED_ROW])
        mean = sum(values) / len(values)
        axes.line([(number - 0.2, mean), (number + 0.2, mean)], ROW_COLOURS[GENERATED_ROW])
    axes.key("a drawn picture; bar: mean", ROW_COLOURS[GENERATED_ROW])
    return axes.picture()


def confusion(report: BiometricReport) -> Image.Image | None:
    """Plots requested against estimated classes of generated images, and known against estimated of real faces."""
    if not report.ages or not report.ages.drawn.pictures:
        return None
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    draw = ImageDraw.Draw(image)
    draw.text((24, 14), f"Ages as {report.ages.estimator} sees them", INK, ImageFont.load_default(TEXT))
    _matrix(draw, 0, "drawn: asked (rows), estimated (columns)", report.ages.drawn)
    _matrix(draw, WIDTH // 2, "photos: known, estimated", report.ages.known)
    return image


def _matrix(draw: ImageDraw.ImageDraw, left: int, title: str, agreement: AgeAgreement) -> None:
    font = ImageFont.load_default(SMALL)
    draw.text((left + 24, 76), f"{title}, n = {agreement.pictures}", INK, font)
    cell, x0, y0 = 70, left + 158, 180
    for row, name in enumerate(AGE_CLASSES):
        draw.text((x0 - 10, y0 + (row + 0.5) * cell), DISPLAY_NAMES[name], INK, font, anchor="rm")
        draw.text((x0 + (row + 0.5) * cell, y0 - 10 - 26 * (row % 2)), DISPLAY_NAMES[name], INK, font, anchor="ms")
        total = sum(agreement.confusion[row])
        for column, count in enumerate(agreement.confusion[row]):
            share = count / total if total else 0
            shade = tuple(round(255 + (part - 255) * share) for part in COLOURS[0])
            box = (x0 + column * cell, y0 + row * cell, x0 + (column + 1) * cell, y0 + (row + 1) * cell)
            draw.rectangle(box, fill=shade, outline=(190, 190, 190))
            place = (box[0] + cell / 2, box[1] + cell / 2)
            draw.text(place, str(count) if total else "-", PAPER if share > 0.6 else INK, font, anchor="mm")

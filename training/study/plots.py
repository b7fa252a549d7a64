"""The study's pictures."""

from PIL import Image

from ..biometrics.bootstrap import Interval
from ..pictures.chart import COLOURS, INK, Axes
from .plan import TRUE, UNTRAINED
from .results import Result

LINE = 24  # px of height that a label takes


def change_plot(found: list[Result]) -> Image.Image:
    """FNMR at FMR 1 %, with its interval, for each way to train."""
    rates = [row.fnmr["0.01"] for row in found]
    top = max([rate.high for rate in rates if rate], default=1) * 1.1
    axes = Axes("People who are no longer recognised, by way to train", "", "FNMR at FMR 1 %", (-0.6, len(found) - 0.4),
                (0, max(top, 0.01)), x_names=[row.label for row in found])  # fmt: skip
    for number, rate in enumerate(rates):
        if rate:
            axes.line([(number, rate.low), (number, rate.high)], COLOURS[0])
            axes.dot(number, rate.value, COLOURS[0])
    axes.key("bar: 95 % of the bootstrap over subjects", COLOURS[0])
    return axes.image


def trade_off(main: list[Result], weights: list[Result]) -> Image.Image:
    """Similarity against the share of right ages: the main table's rows, and a line as the identity weight rises."""
    others = [row for row in main if row.name not in {TRUE.name, UNTRAINED.name, *(row.name for row in weights)}]
    rows = [*others, *weights]
    across, up = _room([row.age_accuracy for row in rows]), _room([row.similarity for row in rows])
    axes = Axes("Identity against age", "share of pictures with the age asked for", "mean similarity to the photos",
                across, up)  # fmt: skip
    axes.line([(row.age_accuracy.value, row.similarity.value) for row in weights], COLOURS[0])
    written = []
    for group, colour in ((weights, COLOURS[0]), (others, COLOURS[1])):
        for row in group:
            place = row.age_accuracy.value, row.similarity.value
            axes.dot(*place, colour)
            x, y = axes.at(*place)
            end = x + axes.draw.textlength(row.label, axes.small)
            while any(x < right and left < end and abs(y - top) < LINE for left, right, top in written):
                y += LINE
            written.append((x, end, y))
            axes.draw.text((x + 12, y + 4), row.label, INK, axes.small)
    axes.key("biometric, weight rising", COLOURS[0])
    axes.key("other ways to train", COLOURS[1])
    return axes.image


def _room(values: list[Interval]) -> tuple[float, float]:
    low, high = min(value.value for value in values), max(value.value for value in values)
    margin = 0.2 * (high - low) + 0.01  # room for the labels
    return low - margin, high + margin

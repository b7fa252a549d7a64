"""The study's pictures."""

from PIL import Image

from ..pictures.chart import COLOURS, Axes, with_room
from .frontier import Course, path
from .plan import TRUE, UNTRAINED, Variant
from .results import Result


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
    return axes.picture()


def paths(found: dict[str, dict[int, Course]], ways: list[Variant], what: int, words: str) -> Image.Image:
    """FNMR of every way along its steps over what it costs: column ``what`` of a path, which ``words`` name."""
    walked = [(way, path(list(found[way.name].values()))[1]) for way in ways if way.trained and way.name in found]
    across = with_room([value for _, points in walked for value in points[:, what]], 0.2)
    axes = Axes("Along the steps of the training: further down is more alike, further left costs less", words,
                "FNMR at FMR 1 %", across, (0, 1.05))  # fmt: skip
    for number, (way, points) in enumerate(walked):
        colour = COLOURS[number % len(COLOURS)]
        places = [(float(point[what]), float(point[0])) for point in points]
        axes.line(places, colour, 4 if number < len(COLOURS) else 2)
        for place in places:
            axes.dot(*place, colour)
        axes.label(*places[-1], way.label)
    return axes.picture()


def trade_off(main: list[Result], weights: list[Result]) -> Image.Image:
    """Similarity against the share of right ages: the main table's rows, and a line as the identity weight rises."""
    others = [row for row in main if row.name not in {TRUE.name, UNTRAINED.name, *(row.name for row in weights)}]
    rows = [*weights, *others]
    across = with_room([row.age_accuracy.value for row in rows], 0.2)  # for the labels
    up = with_room([row.similarity.value for row in rows], 0.2)
    axes = Axes("Identity against age", "share of pictures with the age asked for", "mean similarity to the photos",
                across, up)  # fmt: skip
    axes.line([(row.age_accuracy.value, row.similarity.value) for row in weights], COLOURS[0])
    for group, colour in ((weights, COLOURS[0]), (others, COLOURS[1])):
        for row in group:
            axes.dot(row.age_accuracy.value, row.similarity.value, colour)
    for row in rows:
        axes.label(row.age_accuracy.value, row.similarity.value, row.label.removeprefix("biometric, "))
    axes.key("biometric, weight rising", COLOURS[0])
    axes.key("other ways to train", COLOURS[1])
    return axes.picture()

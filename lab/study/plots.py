"""The study's pictures."""

from PIL import Image

from training.pictures.chart import COLOURS, Axes, with_room

from .frontier import Course, path
from .plan import Variant


def paths(found: dict[str, dict[int, Course]], ways: list[Variant], what: int, words: str) -> Image.Image:
    """FNMR of every way along its steps over what it costs: column ``what`` of a path, which ``words`` name."""
    walked = [(way, path(list(found[way.name].values()))[1]) for way in ways if way.trained and way.name in found]
    across = with_room([value for _, points in walked for value in points[:, what]], 0.2)
    axes = Axes("Along the steps of the training: further down is more alike, further left costs less", words,
                "FNMR at FMR 1 %", across, (0, 1.05))  # fmt: skip
    for colour, (way, points) in zip(COLOURS, walked, strict=False):
        places = [(float(point[what]), float(point[0])) for point in points]
        axes.line(places, colour)
        for place in places:
            axes.dot(*place, colour)
        axes.label(*places[-1], way.label, colour)
    return axes.picture()

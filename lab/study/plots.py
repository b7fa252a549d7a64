"""The study's plots."""

from PIL import Image

from training.pictures.chart import COLOURS, Axes, with_room

from .frontier import Course, path
from .plan import Variant


def paths(courses: dict[str, dict[int, Course]], methods: list[Variant], column: int, words: str) -> Image.Image:
    """Plots each method's FNMR along its steps over ``column`` of its path, labelled ``words``."""
    trained = [method for method in methods if method.trained and method.name in courses]
    walked = [(method, path(list(courses[method.name].values()))[1]) for method in trained]
    across = with_room([value for _, points in walked for value in points[:, column]], 0.2)
    axes = Axes("Along the steps of the training: further down is more alike, further left costs less", words,
                "FNMR at FMR 1 %", across, (0, 1.05))  # fmt: skip
    for colour, (method, points) in zip(COLOURS, walked, strict=False):
        places = [(float(point[column]), float(point[0])) for point in points]
        axes.line(places, colour)
        for place in places:
            axes.dot(*place, colour)
        axes.label(*places[-1], method.label, colour)
    return axes.picture()

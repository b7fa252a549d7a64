"""Aspect ratio bucketing: the few shapes in which photos are trained, so that each keeps its own as far as may be."""

import math
from collections import Counter
from collections.abc import Sequence

STEP = 64  # px, of which every side is a multiple: what networks of all families can take
ELONGATED = 2  # times as long as wide, at most

Shape = tuple[int, int]  # width and height, px


def bucket_shapes(resolution: int) -> list[Shape]:
    """Every shape of at most the area of a square of ``resolution`` px, each as high as its width allows."""
    widths = range(STEP, ELONGATED * resolution + 1, STEP)
    shapes = [(width, resolution**2 // width // STEP * STEP) for width in widths]
    return [shape for shape in shapes if min(shape) * ELONGATED >= max(shape) and min(shape) > 0]


def bucket_of(size: tuple[int, int], resolution: int) -> Shape:
    """The shape for a picture of ``size``: that of the nearest aspect ratio, of two alike the larger."""
    aspect = math.log(size[0] / size[1])
    return min(
        bucket_shapes(resolution),
        key=lambda shape: (abs(math.log(shape[0] / shape[1]) - aspect), -shape[0] * shape[1]),
    )


def shapes_remark(shapes: Sequence[Shape]) -> str:
    """A sentence on the shapes of all photos, the most frequent first."""
    counts = Counter(shapes).most_common()
    each = ", ".join(f"{width} x {height} px ({count})" for (width, height), count in counts)
    return f"Photos are trained in {len(counts)} shape{'s' * (len(counts) > 1)}: {each}."

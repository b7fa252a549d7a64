"""Aspect ratio bucketing: trains each photo in the one of a few shapes that is nearest to its own."""

import math
from collections import Counter
from collections.abc import Sequence

STEP = 64  # px; every side is a multiple of it, which suits all model families
ELONGATED = 2  # the largest ratio of the longer side to the shorter one

Shape = tuple[int, int]  # width and height in px


def bucket_shapes(resolution: int) -> list[Shape]:
    """Returns the highest shape per width whose area is at most that of a square with sides of ``resolution`` px."""
    widths = range(STEP, ELONGATED * resolution + 1, STEP)
    shapes = [(width, resolution**2 // width // STEP * STEP) for width in widths]
    return [shape for shape in shapes if min(shape) * ELONGATED >= max(shape) and min(shape) > 0]


def bucket_of(size: tuple[int, int], resolution: int) -> Shape:
    """Returns the shape with the aspect ratio nearest to that of ``size`` (width, height); the larger one on a tie."""
    aspect = math.log(size[0] / size[1])
    return min(
        bucket_shapes(resolution),
        key=lambda shape: (abs(math.log(shape[0] / shape[1]) - aspect), -shape[0] * shape[1]),
    )


def shapes_remark(shapes: Sequence[Shape]) -> str:
    """Returns a sentence that lists the photos' shapes, the most frequent first."""
    counts = Counter(shapes).most_common()
    listing = ", ".join(f"{width} x {height} px ({count})" for (width, height), count in counts)
    return f"Training uses {len(counts)} image shape{'s' * (len(counts) > 1)}: {listing}."

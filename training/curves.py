"""All losses of a run in one chart."""

import numpy as np
from PIL import Image

from .axes import COLOURS, Axes

SMOOTHED = 0.1  # of the run: losses jump with the noise level that a step happens to draw


def loss_curves(history: list[dict[str, float]]) -> Image.Image:
    """Each loss of ``history`` [steps], smoothed, relative to where it began; it is known only in some steps."""
    names = list(dict.fromkeys(name for losses in history for name in losses))
    curves = {}
    for name in names:
        steps = [number for number, losses in enumerate(history, 1) if name in losses]
        values = np.array([history[step - 1][name] for step in steps])
        width = max(1, round(SMOOTHED * len(values)))
        smooth = np.convolve(values, np.ones(width) / width, "valid")
        curves[name] = list(zip(steps[width - 1 :], smooth / smooth[0], strict=True))
    top = max(height for curve in curves.values() for _, height in curve)
    axes = Axes("Losses while training", "step", "relative to the first steps", (0, len(history)), (0, 1.1 * top))
    for name, colour in zip(names, COLOURS, strict=False):
        axes.line(curves[name], colour)
        axes.key(name, colour)
    return axes.image

"""The curves of a run as one chart: its losses, and below them the evaluations."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from ..pictures.chart import COLOURS, HEIGHT, WIDTH, Axes
from .evaluations import Evaluation, best

SMOOTHED = 0.1  # share of the run to average over: losses jump with the noise level of each step


def curves(history: list[dict[str, float]], evaluations: Sequence[Evaluation] = ()) -> Image.Image:
    """Each loss of ``history`` [steps], and identity, age and their product per evaluation if there are any."""
    if not evaluations:
        return loss_curves(history)
    chart = Image.new("RGB", (WIDTH, 2 * HEIGHT))
    chart.paste(loss_curves(history), (0, 0))
    chart.paste(evaluation_curves(evaluations, len(history)), (0, HEIGHT))
    return chart


def loss_curves(history: list[dict[str, float]]) -> Image.Image:
    """Each loss of ``history`` [steps], smoothed and relative to its start. Some steps lack some losses."""
    names = list(dict.fromkeys(name for losses in history for name in losses))
    lines = {}
    for name in names:
        steps = [number for number, losses in enumerate(history, 1) if name in losses]
        values = np.array([history[step - 1][name] for step in steps])
        window = max(1, round(SMOOTHED * len(values)))
        smooth = np.convolve(values, np.ones(window) / window, "valid")
        lines[name] = list(zip(steps[window - 1 :], smooth / (smooth[0] or 1), strict=True))
    top = max(value for line in lines.values() for _, value in line)
    axes = Axes("Losses while training", "step", "relative to the first steps", (0, len(history)), (0, 1.1 * top))
    for name, colour in zip(names, COLOURS, strict=False):
        axes.line(lines[name], colour)
        axes.key(name, colour)
    return axes.picture()


def evaluation_curves(evaluations: Sequence[Evaluation], steps: int) -> Image.Image:
    """Identity, age and their product over ``steps``, with the best step marked."""
    axes = Axes("What the judges saw", "step", "0 to 1", (0, steps), (0, 1))
    if chosen := best(evaluations):
        axes.uprights([(chosen.step, "best")])
    parts = {"identity": "identity", "age": "age", "score": "identity x age"}
    for (part, name), colour in zip(parts.items(), COLOURS, strict=False):
        values = [(evaluation.step, getattr(evaluation, part)) for evaluation in evaluations]
        axes.line(values, colour)
        for step, value in values:
            axes.dot(step, value, colour)
        axes.key(name, colour)
    return axes.picture()

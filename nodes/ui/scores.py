"""Similarities and verdicts for display on nodes."""

import math

from PIL import Image

from ...training.biometrics.comparisons import Comparisons
from ...training.biometrics.verdicts import LIKELY, SAME, UNLIKE, verdict
from ...training.faces.embedders import Thresholds
from ...training.faces.observation import Observation
from ...training.pictures.sheet import FOUND, MISSING, annotated

COLOURS = {SAME: FOUND, LIKELY: (234, 179, 8), UNLIKE: MISSING}


def similarities_of(compared: Comparisons) -> list[float]:
    """The mean similarity per image for a FLOAT output; nan if there is none."""
    return [math.nan if similarity is None else similarity for similarity in compared.means]


def marked_faces(
    pictures: list[Image.Image], compared: Comparisons, thresholds: Thresholds | None
) -> list[Image.Image]:
    """All images with face, similarity and verdict drawn on them; images without a face get a red frame."""
    marked = []
    for picture, observation, similarity in zip(pictures, compared.pictures, compared.means, strict=True):
        colour = COLOURS.get(verdict(similarity, thresholds), FOUND)
        box = observation.face.box if observation.face else None
        marked.append(annotated(picture, box, _label(observation, similarity, thresholds), colour))
    return marked


def similarity_label(similarity: float, thresholds: Thresholds | None) -> str:
    """A similarity as text, with the verdict on a second line if the thresholds are known."""
    return "\n".join(filter(None, (f"{similarity:.3f}", verdict(similarity, thresholds))))


def _label(observation: Observation, similarity: float | None, thresholds: Thresholds | None) -> str:
    if observation.face is None:
        return "no face"
    label = "no reference" if similarity is None else similarity_label(similarity, thresholds)
    return f"{label}\n{observation.doubt}" if observation.doubt else label

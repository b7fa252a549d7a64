"""Similarities and verdicts as nodes show them."""

import math

from PIL import Image

from ...training.biometrics.comparisons import Comparisons
from ...training.biometrics.verdicts import LIKELY, SAME, UNLIKE, verdict
from ...training.faces.embedders import Thresholds
from ...training.faces.observation import Observation
from ...training.pictures.sheet import FOUND, MISSING, annotated

COLOURS = {SAME: FOUND, LIKELY: (234, 179, 8), UNLIKE: MISSING}


def similarities_of(compared: Comparisons) -> list[float]:
    """The mean similarity of each picture; nan where it has none, as a FLOAT socket wants it."""
    return [math.nan if similarity is None else similarity for similarity in compared.means]


def marked_faces(
    pictures: list[Image.Image], compared: Comparisons, thresholds: Thresholds | None
) -> list[Image.Image]:
    """Every picture with its face, similarity and verdict; without a face it has a red frame."""
    marked = []
    for picture, seen, similarity in zip(pictures, compared.pictures, compared.means, strict=True):
        colour = COLOURS.get(verdict(similarity, thresholds), FOUND)
        marked.append(
            annotated(picture, seen.face.box if seen.face else None, _label(seen, similarity, thresholds), colour)
        )
    return marked


def similarity_label(similarity: float, thresholds: Thresholds | None) -> str:
    """A similarity that is no nan, and below it what it means, where that is known."""
    return "\n".join(filter(None, (f"{similarity:.3f}", verdict(similarity, thresholds))))


def _label(seen: Observation, similarity: float | None, thresholds: Thresholds | None) -> str:
    if seen.face is None:
        return "no face"
    label = "no reference" if similarity is None else similarity_label(similarity, thresholds)
    return f"{label}\n{seen.doubt}" if seen.doubt else label

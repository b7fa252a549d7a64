"""What the report reads of one picture: the face, its embedding, its aligned pixels, and how old it looks."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from .age_estimator import AgeEstimate, AgeEstimator
from .embedder import FaceEmbedder, find_and_embed
from .errors import UserError
from .faces import Face, FaceDetector, crop_squares, upright
from .photos import to_tensor

ALIGNED = 48  # px; fine enough to tell a copy from a likeness, coarse enough to forgive a pixel of misalignment


@dataclass(frozen=True)
class Observation:
    """One picture. Everything about its face is None where none was found."""

    name: str
    age: str | int | None  # that was asked for, or that the person has
    face: Face | None = None
    vector: Tensor | None = None  # [D], of length 1
    aligned: Tensor | None = None  # [ALIGNED, ALIGNED], grey, eyes level
    estimate: AgeEstimate | None = None


def observe(
    name: str,
    image: Image.Image,
    age: str | int | None,
    detector: FaceDetector,
    embedder: FaceEmbedder,
    estimator: AgeEstimator | None = None,
    device: torch.device | str = "cpu",
) -> Observation:
    """Finds the main face of a picture and reads everything off it.

    Raises UserError where the embedding is not a number, which no picture causes but a broken embedder.
    """
    face, vector = find_and_embed(image, detector, embedder, device)
    if face is None:
        return Observation(name, age)
    if not vector.isfinite().all():
        raise UserError(f"{embedder.name} gives no number for the face in {name}; its weights may be damaged.")
    estimate = estimator(image, face) if estimator else None
    return Observation(name, age, face, vector, aligned_face(image, face), estimate)


def aligned_face(image: Image.Image, face: Face) -> Tensor:
    """The face in grey [ALIGNED, ALIGNED], eyes level."""
    turned, face = upright(image, face)
    return crop_squares(to_tensor(turned), torch.tensor([face.square()]), ALIGNED)[0].mean(0)

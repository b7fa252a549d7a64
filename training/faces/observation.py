"""What is read off one picture: the face, its embedding, its aligned pixels, and how old it looks."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ..ages import AgeEstimate
from ..errors import UserError
from ..pictures.photos import to_tensor
from ..pictures.repeats import signature
from .age_estimators import AgeErrors, AgeEstimator
from .embedders import FaceEmbedder, embed_face
from .find import Face, FaceDetector, crop_squares, upright

ALIGNED = 48  # px; fine enough to tell a copy from a likeness, coarse enough to forgive a pixel of misalignment


@dataclass(frozen=True)
class Observation:
    """One picture. Everything but the first two is None where no face was found."""

    name: str
    age: str | int | None  # that was asked for, or that the person has
    face: Face | None = None
    vector: Tensor | None = None  # [D], of length 1
    aligned: Tensor | None = None  # [ALIGNED, ALIGNED], grey, eyes level
    estimate: AgeEstimate | None = None
    signature: Tensor | None = None  # of the whole picture, which tells one picture from another
    doubt: str | None = None  # why its similarity says less: the face is small, or seen from the side


@dataclass(frozen=True)
class Observer:
    """Whoever looks at pictures: what finds faces, what tells them apart and, if need be, what tells their ages."""

    detector: FaceDetector
    embedder: FaceEmbedder
    estimator: AgeEstimator | None = None
    device: torch.device | str = "cpu"  # of the embedder

    @property
    def name(self) -> str:
        """The matcher and the age estimator."""
        return f"{self.embedder.name}, {self.estimator.name if self.estimator else 'no age estimator'}"

    @property
    def age_errors(self) -> AgeErrors | None:
        """What was measured of its age estimator."""
        return self.estimator.errors if self.estimator else None

    def observe(self, name: str, image: Image.Image, age: str | int | None = None) -> Observation:
        """Finds the main face of a picture and reads everything off it; see read."""
        return self.read(name, image, next(iter(self.detector(image)), None), age)

    def read(self, name: str, image: Image.Image, face: Face | None, age: str | int | None = None) -> Observation:
        """Everything about a ``face`` that was found already.

        Raises UserError where the embedding is not a number, which no picture causes but a broken embedder.
        """
        if face is None:
            return Observation(name, age)
        vector = embed_face(self.embedder, image, face, self.device)
        if not vector.isfinite().all():
            raise UserError(f"{self.embedder.name} gives no number for the face in {name}; its weights may be damaged.")
        estimate = self.estimator(image, face) if self.estimator else None
        aligned, doubt = aligned_face(image, face), self._doubt(face)
        return Observation(name, age, face, vector, aligned, estimate, signature(image), doubt)

    def _doubt(self, face: Face) -> str | None:
        smallest = self.embedder.facts.smallest
        if smallest and face.side < smallest:
            return f"small, {face.side:.0f} px"
        return "from the side" if face.from_the_side else None


def aligned_face(image: Image.Image, face: Face) -> Tensor:
    """The face in grey [ALIGNED, ALIGNED], eyes level."""
    turned, face = upright(image, face)
    return crop_squares(to_tensor(turned), torch.tensor([face.square()]), ALIGNED)[0].mean(0)

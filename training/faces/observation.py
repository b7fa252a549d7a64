"""Everything measured on one image: the face, its embedding, its aligned pixels and its estimated age."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from ..ages import AgeEstimate
from ..errors import DamagedFile
from ..pictures.photos import to_tensor
from ..pictures.repeats import signature
from .age_estimators import AgeErrors, AgeEstimator
from .embedders import FaceEmbedder, embed_face
from .find import Face, FaceDetector, crop_squares, upright

ALIGNED = 48  # px; fine enough to tell a copy from a likeness, coarse enough to tolerate misalignment by a pixel


@dataclass(frozen=True)
class Observation:
    """One image. All fields except the first two are None if no face was detected."""

    name: str
    age: str | int | None  # the requested age, or the age in a photo
    face: Face | None = None
    vector: Tensor | None = None  # [D], of length 1
    aligned: Tensor | None = None  # [ALIGNED, ALIGNED], grey, level eyes
    estimate: AgeEstimate | None = None
    signature: Tensor | None = None  # of the whole image, to find repeated images
    doubt: str | None = None  # why the similarity is less reliable: the face is small or from the side


@dataclass(frozen=True)
class Observer:
    """Measures images with a face detector, a face embedder and, optionally, an age estimator."""

    detector: FaceDetector
    embedder: FaceEmbedder
    estimator: AgeEstimator | None = None
    device: torch.device | str = "cpu"  # of the embedder

    @property
    def name(self) -> str:
        """Names of the matcher and the age estimator."""
        return f"{self.embedder.name}, {self.estimator.name if self.estimator else 'no age estimator'}"

    @property
    def age_errors(self) -> AgeErrors | None:
        """The measured accuracy of the age estimator, if known."""
        return self.estimator.errors if self.estimator else None

    def observe(self, name: str, image: Image.Image, age: str | int | None = None) -> Observation:
        """Detects the main face in an image and measures it; see read."""
        return self.read(name, image, next(iter(self.detector(image)), None), age)

    def read(self, name: str, image: Image.Image, face: Face | None, age: str | int | None = None) -> Observation:
        """Measures a ``face`` that was already detected.

        Raises UserError if the embedding is not finite. A broken embedder causes this, never an image.
        """
        if face is None:
            return Observation(name, age)
        vector = embed_face(self.embedder, image, face, self.device)
        if not vector.isfinite().all():
            raise DamagedFile(
                f"{self.embedder.name} returns nan or inf for the face in {name}. Its weights may be damaged."
            )
        estimate = self.estimator(image, face) if self.estimator else None
        aligned, doubt = aligned_face(image, face), self._doubt(face)
        return Observation(name, age, face, vector, aligned, estimate, signature(image), doubt)

    def _doubt(self, face: Face) -> str | None:
        smallest = self.embedder.facts.smallest
        if smallest and face.side < smallest:
            return f"small, {face.side:.0f} px"
        return "from the side" if face.from_the_side else None


def aligned_face(image: Image.Image, face: Face) -> Tensor:
    """Returns the face in grey, with level eyes, [ALIGNED, ALIGNED] in [-1, 1]."""
    rotated, face = upright(image, face)
    return crop_squares(to_tensor(rotated), torch.tensor([face.square()]), ALIGNED)[0].mean(0)

"""Face embedders map face crops to unit vectors. The cosine of two vectors is the similarity of the faces."""

from dataclasses import dataclass
from typing import Protocol

import torch
from PIL import Image
from torch import Tensor, nn

from ..pictures.photos import to_tensor
from .crops import FaceCrop, landmarks_of
from .find import Face, FaceDetector

CHILD = 10  # years


@dataclass(frozen=True)
class Thresholds:
    """The lowest similarities with an FMR of at most 1 % and 0.1 % on real faces, as measured by ``lab/judges.py``.

    Pairs of children under CHILD years are excluded: matchers confuse them so often that these few pairs would raise
    the thresholds at every other age.
    """

    fmr_1: float
    fmr_01: float
    comparisons: int  # non-mated comparisons behind the thresholds
    children: float  # FMR of the excluded pairs at the threshold ``fmr_01``
    source: str


@dataclass(frozen=True)
class Facts:
    """Facts about an embedder; None if unknown."""

    made: str | None = None  # network and training data, for use inside a sentence
    thresholds: Thresholds | None = None
    smallest: int | None = None  # px, longer side of the face box; similarities of smaller faces are unreliable


UNKNOWN = Facts()


class FaceEmbedder(Protocol):
    """Maps face crops to unit vectors."""

    @property
    def name(self) -> str:
        """The name shown in reports."""

    @property
    def crop(self) -> FaceCrop:
        """The crop that the embedder expects."""

    @property
    def detector(self) -> FaceDetector | None:
        """The face detector for this embedder; None for MTCNN."""

    @property
    def facts(self) -> Facts:
        """Its network, training data and thresholds, if known."""

    def __call__(self, crops: Tensor) -> Tensor:
        """Returns unit vectors [B, D] for RGB ``crops`` [B, 3, size, size] in [-1, 1]. Differentiable."""

    def state_dict(self) -> dict[str, Tensor]:
        """The weights, which identify the embedder."""

    def to(self, device: torch.device) -> "FaceEmbedder":
        """Moves the embedder to ``device``."""


class Embedder(nn.Module):
    """Wraps a network as a FaceEmbedder: freezes it and normalizes its outputs to unit length."""

    detector = None

    def __init__(self, name: str, network: nn.Module, crop: FaceCrop, facts: Facts = UNKNOWN):
        super().__init__()
        self.name, self.crop, self.facts = name, crop, facts
        self.network = network.eval().requires_grad_(False)

    def forward(self, crops: Tensor) -> Tensor:
        """See FaceEmbedder."""
        return nn.functional.normalize(self.network(crops), dim=1)


@torch.no_grad()
def embed_face(embedder: FaceEmbedder, image: Image.Image, face: Face, device: torch.device | str = "cpu") -> Tensor:
    """Returns the embedding [D] of one face as a unit vector, float32 on the CPU."""
    square = torch.tensor([embedder.crop.square(face)])
    crop = embedder.crop(to_tensor(image).to(device), square.to(device), landmarks_of([face]))
    return embedder(crop)[0].float().cpu()

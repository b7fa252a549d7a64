"""Face embedders: aligned crops to unit vectors whose cosine says how alike two faces are."""

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
    """The lowest similarities with an FMR of at most 1 % and 0.1 % over real faces; ``tools/judges.py`` measures them.

    Pairs of children under CHILD years are left out of that: matchers confuse them so often that these few pairs
    would set the thresholds for everybody.
    """

    fmr_1: float
    fmr_01: float
    comparisons: int  # non-mated ones that they were read off
    children: float  # FMR at ``fmr_01`` of the pairs that were left out
    source: str


@dataclass(frozen=True)
class Facts:
    """What is known of an embedder beside its weights; None where nobody found out."""

    made: str | None = None  # its network and the photos it was trained on, as a sentence's end
    thresholds: Thresholds | None = None
    smallest: int | None = None  # longer side of a face's box, px; of smaller ones it was seen to miss the person


UNKNOWN = Facts()


class FaceEmbedder(Protocol):
    """Anything that turns face crops into unit vectors."""

    @property
    def name(self) -> str:
        """What reports call it."""

    @property
    def crop(self) -> FaceCrop:
        """How the faces that it reads are cut out."""

    @property
    def detector(self) -> FaceDetector | None:
        """Finds the faces it was made for, where that is not MTCNN's work."""

    @property
    def facts(self) -> Facts:
        """What is known of it."""

    def __call__(self, crops: Tensor) -> Tensor:
        """Unit vectors [B, D] of RGB ``crops`` [B, 3, size, size] in [-1, 1]. Gradients flow through."""

    def state_dict(self) -> dict[str, Tensor]:
        """Its weights, which tell it from others."""

    def to(self, device: torch.device) -> "FaceEmbedder":
        """This embedder, on ``device``."""


class Embedder(nn.Module):
    """A network as a FaceEmbedder, frozen; its vectors are brought to unit length."""

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
    """The unit vector [D] of one face in one picture, on the CPU."""
    square = torch.tensor([embedder.crop.square(face)])
    crop = embedder.crop(to_tensor(image).to(device), square.to(device), landmarks_of([face]))
    return embedder(crop)[0].float().cpu()

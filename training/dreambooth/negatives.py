"""Faces of other people, which the triplet loss tells the subject from."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..data.dataset import RegularizationSet
from ..errors import UserError
from ..faces.embedders import FaceEmbedder, embed_face
from ..faces.find import FaceDetector, cut_square
from ..pictures.photos import Bar, abridged


@dataclass(frozen=True)
class Negatives:
    """What an embedder sees in the main face of each regularization image that has one."""

    vectors: Tensor  # unit vectors [N, D]
    ages: list[str]  # classes [N]
    remarks: list[str] = field(default_factory=list)

    @classmethod
    def among(
        cls,
        regularization: RegularizationSet,
        detector: FaceDetector,
        embedder: FaceEmbedder,
        resolution: int,
        device: torch.device,
        bar: Bar = iter,
    ) -> "Negatives":
        """Looks for them, once. Raises UserError where no image has a face."""
        vectors, ages, without = [], [], []
        for photo, age in zip(bar(regularization.photos), regularization.ages, strict=True):
            picture, _ = cut_square(photo.image(), None, resolution, None)
            if face := next(iter(detector(picture)), None):
                vectors.append(embed_face(embedder, picture, face, device))
                ages.append(age)
            else:
                without.append(photo.name)
        count = len(regularization.photos)
        if not vectors:
            raise UserError(
                f"No face was found in any of the {count} regularization images, and the triplet loss needs at least "
                "one."
            )
        remarks = []
        if without:
            remarks.append(
                f"{len(without)} of {count} regularization images train the reconstruction and not the triplet loss; "
                f"no face was found in {abridged(without)}."
            )
        return cls(torch.stack(vectors), ages, remarks)

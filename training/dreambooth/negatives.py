"""Faces of other people: the negatives of the triplet loss."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from ..data.dataset import RegularizationSet
from ..errors import NoFaceFound
from ..faces.embedders import FaceEmbedder, embed_face
from ..faces.find import FaceDetector, cut_square
from ..pictures.photos import Bar, abridged


@dataclass(frozen=True)
class Negatives:
    """Embeddings of the main face in each regularization image that shows one."""

    vectors: Tensor  # unit vectors [N, D]
    ages: list[str]  # age classes [N]
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
        """Detects and embeds the faces. Raises UserError if no image has a face."""
        vectors, ages, faceless = [], [], []
        for photo, age in zip(bar(regularization.photos), regularization.ages, strict=True):
            image, _ = cut_square(photo.image(), None, resolution, None)
            if face := next(iter(detector(image)), None):
                vectors.append(embed_face(embedder, image, face, device))
                ages.append(age)
            else:
                faceless.append(photo.name)
        count = len(regularization.photos)
        if not vectors:
            raise NoFaceFound(
                f"The triplet loss needs faces of other people, and none was found in the {count} regularization "
                "images. Use images with larger faces, or another loss."
            )
        remarks = []
        if faceless:
            remarks.append(
                f"No face was found in {len(faceless)} of {count} regularization images; they do not take part in the "
                f"triplet loss: {abridged(faceless)}."
            )
        return cls(torch.stack(vectors), ages, remarks)

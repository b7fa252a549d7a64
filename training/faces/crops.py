"""What a network is shown of a face: the square around it, or the face turned and scaled onto fixed places."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..errors import UserError
from .find import CROP_SCALE, Face, crop_squares

# Where the landmarks of a Face lie in the crop, in its sides: left eye, right eye, nose, left and right mouth corner.
Template = tuple[tuple[float, float], ...]
UNKNOWN = (float("nan"), float("nan"))


class FaceCrop(Protocol):
    """A way to cut faces out, differentiable in the pictures."""

    @property
    def size(self) -> int:
        """Side of the crops, px."""

    def square(self, face: Face) -> tuple[float, float, float, float]:
        """A square (left, top, right, bottom, px) of the picture that holds all of ``face``'s crop."""

    def __call__(self, images: Tensor, squares: Tensor, landmarks: Tensor) -> Tensor:
        """Crops [B, C, size, size] of ``images`` [B, C, H, W] at ``squares`` [B, 4] and ``landmarks`` [B, 5, 2], px."""


@dataclass(frozen=True)
class SquareCrop:
    """The box made square, ``scale`` times its longer side."""

    size: int
    scale: float = CROP_SCALE

    def square(self, face: Face) -> tuple[float, float, float, float]:
        """The square itself."""
        return face.square(self.scale)

    def __call__(self, images: Tensor, squares: Tensor, landmarks: Tensor) -> Tensor:
        """See FaceCrop; the landmarks are not needed."""
        return crop_squares(images, squares, self.size)


@dataclass(frozen=True)
class AlignedCrop:
    """The face turned, scaled and moved until its landmarks lie nearest to those of ``template``."""

    size: int
    template: Template

    def square(self, face: Face) -> tuple[float, float, float, float]:
        """The square around the crop's corners, which the crop itself may stand in at an angle."""
        corners = torch.tensor([[0.0, 0.0, self.size, self.size], [0.0, self.size, 0.0, self.size], [1.0] * 4])
        matrix = torch.eye(3)
        matrix[:2] = self._to_crop(landmarks_of([face]))[0]
        x, y, _ = (torch.linalg.inv(matrix) @ corners).tolist()
        half = max(max(x) - min(x), max(y) - min(y)) / 2
        middle = (max(x) + min(x)) / 2, (max(y) + min(y)) / 2
        return middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half

    def __call__(self, images: Tensor, squares: Tensor, landmarks: Tensor) -> Tensor:
        """See FaceCrop; what lies outside a picture repeats its edge.

        Raises UserError where landmarks are nan, as of a detector that finds none.
        """
        from kornia.geometry.transform import warp_affine

        if not landmarks.isfinite().all():
            raise UserError("This face embedder needs to know where eyes and mouth are, and its detector does not say.")
        landmarks = landmarks.to(images)
        # As in crop_squares: a face much larger than its crop is averaged down first.
        shrink = max(1, int(1 / _scale(self._to_crop(landmarks)).min().item()))
        if shrink > 1:
            images = torch.nn.functional.avg_pool2d(images, shrink, ceil_mode=True, count_include_pad=False)
        to_crop = self._to_crop(landmarks / shrink)
        # Pixel edges are at whole numbers here, kornia's pixel centres are.
        half = torch.full((2,), 0.5).to(images)
        centered = torch.cat([to_crop[:, :, :2], (to_crop[:, :, 2] + to_crop[:, :, :2] @ half - half)[:, :, None]], 2)
        size = (self.size, self.size)
        return warp_affine(images, centered, size, mode="bilinear", padding_mode="border", align_corners=True)

    def _to_crop(self, landmarks: Tensor) -> Tensor:
        """The similarity transforms [B, 2, 3] from picture to crop with the least squared error (Umeyama 1991).

        In the plane, with points as complex numbers, that is z -> a z + b with a = <z, w> / <z, z> about the means.
        """
        z = torch.view_as_complex(landmarks.float().contiguous())
        w = torch.view_as_complex((torch.tensor(self.template) * self.size).to(landmarks.device))
        centered = z - z.mean(1, keepdim=True)
        a = (centered.conj() * (w - w.mean())).sum(1) / centered.abs().square().sum(1)
        b = w.mean() - a * z.mean(1)
        rows = torch.stack([torch.stack([a.real, -a.imag, b.real], 1), torch.stack([a.imag, a.real, b.imag], 1)], 1)
        return rows.to(landmarks.dtype)


def landmarks_of(faces: list[Face]) -> Tensor:
    """The landmarks [B, 5, 2], px; nan for a face without."""
    return torch.tensor([face.landmarks or (UNKNOWN,) * 5 for face in faces]).reshape(-1, 5, 2)


def _scale(transforms: Tensor) -> Tensor:
    return transforms[:, :, 0].norm(dim=1)

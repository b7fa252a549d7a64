"""Face crops for networks: the square around the box, or the face aligned to a template of landmarks."""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ..errors import UnsupportedModel
from .find import CROP_SCALE, Face, crop_squares

# Landmark positions in the crop, as fractions of its side: left eye, right eye, nose, left and right mouth corner.
Template = tuple[tuple[float, float], ...]
_NO_LANDMARK = (float("nan"), float("nan"))


class FaceCrop(Protocol):
    """Cuts faces out of images, differentiably."""

    @property
    def size(self) -> int:
        """Side of the crops in px."""

    def square(self, face: Face) -> tuple[float, float, float, float]:
        """Returns a square (left, top, right, bottom) in px of the image that contains the whole crop of ``face``."""

    def __call__(self, images: Tensor, squares: Tensor, landmarks: Tensor) -> Tensor:
        """Cuts crops [B, C, size, size] from ``images`` [B, C, H, W].

        ``squares`` [B, 4] and ``landmarks`` [B, 5, 2] are in px.
        """


@dataclass(frozen=True)
class SquareCrop:
    """A square around the box; its side is ``scale`` times the box's longer side."""

    size: int
    scale: float = CROP_SCALE

    def square(self, face: Face) -> tuple[float, float, float, float]:
        """Returns the crop itself."""
        return face.square(self.scale)

    def __call__(self, images: Tensor, squares: Tensor, landmarks: Tensor) -> Tensor:
        """See FaceCrop. Ignores the landmarks."""
        return crop_squares(images, squares, self.size)


@dataclass(frozen=True)
class AlignedCrop:
    """The face rotated, scaled and shifted so that its landmarks best fit ``template``."""

    size: int
    template: Template

    def square(self, face: Face) -> tuple[float, float, float, float]:
        """Returns the square around the corners of the crop, which may be rotated in it."""
        corners = torch.tensor([[0.0, 0.0, self.size, self.size], [0.0, self.size, 0.0, self.size], [1.0] * 4])
        matrix = torch.eye(3)
        matrix[:2] = self._to_crop(landmarks_of([face]))[0]
        x, y, _ = (torch.linalg.inv(matrix) @ corners).tolist()
        half = max(max(x) - min(x), max(y) - min(y)) / 2
        middle = (max(x) + min(x)) / 2, (max(y) + min(y)) / 2
        return middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half

    def __call__(self, images: Tensor, squares: Tensor, landmarks: Tensor) -> Tensor:
        """See FaceCrop. Outside the image, its edge pixels are repeated.

        Raises UserError if landmarks are nan, as with a detector that returns none.
        """
        from kornia.geometry.transform import warp_affine

        if not landmarks.isfinite().all():
            raise UnsupportedModel(
                "This face embedder needs landmarks (eyes, nose, mouth), but its detector returns none."
            )
        landmarks = landmarks.to(images)
        # As in crop_squares: average a face down first if it is much larger than its crop.
        shrink = max(1, int(1 / _scale(self._to_crop(landmarks)).min().item()))
        if shrink > 1:
            images = torch.nn.functional.avg_pool2d(images, shrink, ceil_mode=True, count_include_pad=False)
        to_crop = self._to_crop(landmarks / shrink)
        # Integers are pixel edges here, but pixel centres in kornia.
        half = torch.full((2,), 0.5).to(images)
        centered = torch.cat([to_crop[:, :, :2], (to_crop[:, :, 2] + to_crop[:, :, :2] @ half - half)[:, :, None]], 2)
        size = (self.size, self.size)
        return warp_affine(images, centered, size, mode="bilinear", padding_mode="border", align_corners=True)

    def _to_crop(self, landmarks: Tensor) -> Tensor:
        """Returns the least-squares similarity transforms [B, 2, 3] from image to crop (Umeyama 1991).

        With points as complex numbers this is z -> a z + b, where a = <z, w> / <z, z> for z and w minus their means.
        """
        z = torch.view_as_complex(landmarks.float().contiguous())
        w = torch.view_as_complex((torch.tensor(self.template) * self.size).to(landmarks.device))
        centered = z - z.mean(1, keepdim=True)
        a = (centered.conj() * (w - w.mean())).sum(1) / centered.abs().square().sum(1)
        b = w.mean() - a * z.mean(1)
        rows = torch.stack([torch.stack([a.real, -a.imag, b.real], 1), torch.stack([a.imag, a.real, b.imag], 1)], 1)
        return rows.to(landmarks.dtype)


def landmarks_of(faces: list[Face]) -> Tensor:
    """Returns the landmarks [B, 5, 2] in px; nan for a face without landmarks."""
    return torch.tensor([face.landmarks or (_NO_LANDMARK,) * 5 for face in faces]).reshape(-1, 5, 2)


def _scale(transforms: Tensor) -> Tensor:
    return transforms[:, :, 0].norm(dim=1)

"""Finds faces and cuts them out, differentiably."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..pictures.photos import to_image, to_tensor

CROP_SCALE = 1.1  # side of the square that a face embedder sees, over the longer side of the detector's box
REMEMBERED = 10_000  # pictures; the faces of one take about 1 kB
DETECTION_SIDE = 1024  # px; larger photos are searched in a copy of this size, which loses no face an artist means


@dataclass(frozen=True)
class Face:
    """A face in a picture: x to the right, y down, in pixels of that picture, pixel edges at whole numbers."""

    box: tuple[float, float, float, float]  # left, top, right, bottom
    landmarks: tuple[tuple[float, float], ...] = ()  # left eye, right eye, nose, left and right mouth corner
    probability: float = 1.0

    @property
    def side(self) -> float:
        """The longer side of the box."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)

    @property
    def center(self) -> tuple[float, float]:
        """The middle of the box."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    @property
    def from_the_side(self) -> bool:
        """Whether the nose lies beyond an eye, along the line between both."""
        if not self.landmarks:
            return False
        left, right, nose = (complex(*point) for point in self.landmarks[:3])
        return not 0 <= ((nose - left) / (right - left)).real <= 1

    def square(self, scale: float = CROP_SCALE) -> tuple[float, float, float, float]:
        """The square around the box, ``scale`` times its longer side."""
        (x, y), half = self.center, self.side * scale / 2
        return x - half, y - half, x + half, y + half

    def moved(self, left: float, top: float, scale: float) -> "Face":
        """This face in a picture cut at (left, top) and then resized by ``scale``."""
        x0, y0, x1, y1 = self.box
        box = ((x0 - left) * scale, (y0 - top) * scale, (x1 - left) * scale, (y1 - top) * scale)
        return replace(
            self, box=box, landmarks=tuple(((x - left) * scale, (y - top) * scale) for x, y in self.landmarks)
        )

    def mirrored(self, width: float) -> "Face":
        """This face in the picture of ``width`` flipped left to right; left and right landmarks change places."""
        x0, y0, x1, y1 = self.box
        points = [(width - x, y) for x, y in self.landmarks]
        order = [1, 0, 2, 4, 3] if points else []
        return replace(self, box=(width - x1, y0, width - x0, y1), landmarks=tuple(points[index] for index in order))


def upright(image: Image.Image, face: Face) -> tuple[Image.Image, Face]:
    """``image`` turned about the face's middle until its eyes are level, and the face in it; edges are repeated.

    A face without landmarks is left as it is. The box keeps its size and the landmarks turn with the picture.
    """
    from kornia.geometry.transform import rotate

    if not face.landmarks:
        return image, face
    (x0, y0), (x1, y1) = face.landmarks[:2]
    angle = float(np.arctan2(y1 - y0, x1 - x0))
    # kornia's pixel centres are at whole numbers, a Face's at half-integers.
    center = torch.tensor([face.center]) - 0.5
    degrees = torch.tensor([np.degrees(angle)], dtype=torch.float32)
    turned = rotate(to_tensor(image), degrees, center, mode="bilinear", padding_mode="border")
    points = [complex(x, y) - complex(*face.center) for x, y in face.landmarks]
    back = [point * np.exp(-1j * angle) + complex(*face.center) for point in points]
    return to_image(turned[0]), replace(face, landmarks=tuple((float(p.real), float(p.imag)) for p in back))


FaceDetector = Callable[[Image.Image], list[Face]]
"""A picture to its faces, the one most likely meant first."""


class MTCNNDetector:
    """facenet-pytorch's MTCNN (Zhang et al. 2016); its weights are inside the wheel."""

    def __init__(self, device: torch.device | str = "cpu"):
        from facenet_pytorch import MTCNN

        self.mtcnn = MTCNN(keep_all=True, device=device)

    @torch.no_grad()
    def __call__(self, image: Image.Image) -> list[Face]:
        """Faces of an RGB picture, largest and most central first: area less twice the squared way to the middle."""
        shrink = min(1.0, DETECTION_SIDE / max(image.size))
        size = [max(1, round(side * shrink)) for side in image.size]
        searched = image.resize(size, Image.Resampling.LANCZOS) if shrink < 1 else image
        if min(searched.size) < self.mtcnn.min_face_size:  # on which it fails
            return []
        boxes, probabilities, landmarks = self.mtcnn.detect(searched, landmarks=True)
        if boxes is None:
            return []
        faces = []
        for box, probability, points in zip(boxes, probabilities, landmarks, strict=True):
            left, top, right, bottom = map(float, box)
            marks = tuple((float(x), float(y)) for x, y in points)
            faces.append(Face((left, top, right, bottom), marks, float(probability)).moved(0, 0, 1 / shrink))
        middle = np.array(image.size) / 2

        def prominence(face: Face) -> float:
            left, top, right, bottom = face.box
            return (right - left) * (bottom - top) - 2 * float(((np.array(face.center) - middle) ** 2).sum())

        return sorted(faces, key=prominence, reverse=True)


class RememberingDetector:
    """A detector that looks at every picture once: what it found is kept by the picture's pixels."""

    def __init__(self, detector: FaceDetector):
        self.detector = detector
        self.found: dict[bytes, list[Face]] = {}

    def __call__(self, image: Image.Image) -> list[Face]:
        """See FaceDetector."""
        key = hashlib.sha256(repr((image.mode, image.size)).encode() + image.tobytes()).digest()
        if key not in self.found:
            if len(self.found) == REMEMBERED:
                del self.found[next(iter(self.found))]
            self.found[key] = self.detector(image)
        return self.found[key]


def crop_squares(images: Tensor, squares: Tensor, size: int) -> Tensor:
    """The ``squares`` [B, 4] (left, top, right, bottom, px) of ``images`` [B, C, H, W], each resized to [size, size].

    Differentiable in the images. What lies outside a picture repeats its edge. A square much larger than ``size`` is
    averaged down first, since bilinear sampling alone would skip pixels.
    """
    from kornia.geometry.transform import warp_affine

    shrink = max(1, int(((squares[:, 2] - squares[:, 0]).max() / size).item()))
    if shrink > 1:
        images = torch.nn.functional.avg_pool2d(images, shrink, ceil_mode=True, count_include_pad=False)
        squares = squares / shrink
    squares = squares.to(images)
    # Pixel centres are at half-integers: output centre u maps to left + (u + 1/2) * scale - 1/2.
    scale = (squares[:, 2] - squares[:, 0]) / size
    to_crop = torch.zeros(len(images), 2, 3, dtype=images.dtype, device=images.device)
    to_crop[:, 0, 0] = to_crop[:, 1, 1] = 1 / scale
    to_crop[:, :, 2] = (0.5 - squares[:, :2]) / scale[:, None] - 0.5
    return warp_affine(images, to_crop, (size, size), mode="bilinear", padding_mode="border", align_corners=True)


def square_side(image: Image.Image, face: Face | None, margin: float | None) -> float:
    """The side of the square that cut_square cuts, px of ``image``."""
    largest = min(image.size)
    return min(largest, face.side * (1 + 2 * margin)) if face and margin is not None else largest


def cut_square(
    image: Image.Image, face: Face | None, side: int, margin: float | None
) -> tuple[Image.Image, Face | None]:
    """A square of ``image`` resized to ``side`` px, and the face in it.

    ``margin`` in face sizes on each side of the face; None, or no face: the largest square that fits, around the face.
    """
    cut = square_side(image, face, margin)
    return _cut(image, face, (cut, cut), (side, side))


def cut_shape(image: Image.Image, face: Face | None, shape: tuple[int, int]) -> tuple[Image.Image, Face | None]:
    """The largest part of ``image`` of the aspect ratio of ``shape`` (width, height), resized to that, around the face.

    Beside it the face in it.
    """
    scale = min(image.width / shape[0], image.height / shape[1])
    return _cut(image, face, (shape[0] * scale, shape[1] * scale), shape)


def _cut(
    image: Image.Image, face: Face | None, cut: tuple[float, float], shape: tuple[int, int]
) -> tuple[Image.Image, Face | None]:
    x, y = face.center if face else (image.width / 2, image.height / 2)
    left = max(min(x - cut[0] / 2, image.width - cut[0]), 0)
    top = max(min(y - cut[1] / 2, image.height - cut[1]), 0)
    box = (left, top, min(left + cut[0], image.width), min(top + cut[1], image.height))
    part = image.resize(shape, Image.Resampling.LANCZOS, box=box)
    return part, face.moved(left, top, shape[0] / cut[0]) if face else None

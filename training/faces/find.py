"""Detects faces and cuts them out of images."""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..pictures.photos import to_image, to_tensor

CROP_SCALE = 1.1  # side of the default face square, relative to the longer side of the detector's box
REMEMBERED = 10_000  # images; the faces of one image take about 1 kB
NEARLY_EQUAL = 0.8  # of the largest area; the boxes of one face at two sizes differ by less
DETECTION_SIDE = 1024  # px; larger images are searched at this size, which keeps all but very small faces


@dataclass(frozen=True)
class Face:
    """A face in an image, in px of that image: x to the right, y down, pixel edges at integers."""

    box: tuple[float, float, float, float]  # left, top, right, bottom
    landmarks: tuple[tuple[float, float], ...] = ()  # left eye, right eye, nose, left and right mouth corner
    probability: float = 1.0

    @property
    def side(self) -> float:
        """The longer side of the box in px."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)

    @property
    def area(self) -> float:
        """The area of the box in px squared."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)

    @property
    def center(self) -> tuple[float, float]:
        """The middle of the box."""
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2

    @property
    def from_the_side(self) -> bool:
        """True if the nose lies beyond one of the eyes along the line through both."""
        if not self.landmarks:
            return False
        left, right, nose = (complex(*point) for point in self.landmarks[:3])
        return not 0 <= ((nose - left) / (right - left)).real <= 1

    def square(self, scale: float = CROP_SCALE) -> tuple[float, float, float, float]:
        """Returns the square around the box; its side is ``scale`` times the longer side of the box."""
        (x, y), half = self.center, self.side * scale / 2
        return x - half, y - half, x + half, y + half

    def moved(self, left: float, top: float, scale: float) -> "Face":
        """Returns this face after the image is cut at (left, top) and then resized by ``scale``."""
        x0, y0, x1, y1 = self.box
        box = ((x0 - left) * scale, (y0 - top) * scale, (x1 - left) * scale, (y1 - top) * scale)
        return replace(
            self, box=box, landmarks=tuple(((x - left) * scale, (y - top) * scale) for x, y in self.landmarks)
        )

    def mirrored(self, width: float) -> "Face":
        """Returns this face after an image of ``width`` px is mirrored. Left and right landmarks are swapped."""
        x0, y0, x1, y1 = self.box
        points = [(width - x, y) for x, y in self.landmarks]
        order = [1, 0, 2, 4, 3] if points else []
        return replace(self, box=(width - x1, y0, width - x0, y1), landmarks=tuple(points[index] for index in order))


def upright(image: Image.Image, face: Face) -> tuple[Image.Image, Face]:
    """Rotates ``image`` about the centre of the face until the eyes are level. Returns the image and the face in it.

    Edge pixels are repeated outside the image. The box stays as it is; the landmarks rotate with the image. A face
    without landmarks is returned unchanged.
    """
    from kornia.geometry.transform import rotate

    if not face.landmarks:
        return image, face
    (x0, y0), (x1, y1) = face.landmarks[:2]
    angle = float(np.arctan2(y1 - y0, x1 - x0))
    # Pixel centres are at integers in kornia, at half-integers in a Face.
    center = torch.tensor([face.center]) - 0.5
    degrees = torch.tensor([np.degrees(angle)], dtype=torch.float32)
    turned = rotate(to_tensor(image), degrees, center, mode="bilinear", padding_mode="border")
    points = [complex(x, y) - complex(*face.center) for x, y in face.landmarks]
    back = [point * np.exp(-1j * angle) + complex(*face.center) for point in points]
    return to_image(turned[0]), replace(face, landmarks=tuple((float(p.real), float(p.imag)) for p in back))


FaceDetector = Callable[[Image.Image], list[Face]]
"""Returns the faces in an image, the main one first."""


def main_first(faces: Sequence[Face], size: tuple[int, int]) -> list[Face]:
    """Sorts the faces of an image of ``size`` (width, height) from large to small, with the main face first.

    The main face is the largest. If others are NEARLY_EQUAL to it, it is the one nearest to the image centre.
    """
    by_area = sorted(faces, key=lambda face: face.area, reverse=True)
    candidates = [face for face in by_area if face.area >= NEARLY_EQUAL * by_area[0].area]
    main = min(candidates, key=lambda face: math.dist(face.center, (size[0] / 2, size[1] / 2)), default=None)
    return sorted(by_area, key=lambda face: face is not main)


class MTCNNDetector:
    """facenet-pytorch's MTCNN (Zhang et al. 2016); its weights come with the package."""

    def __init__(self, device: torch.device | str = "cpu"):
        from facenet_pytorch import MTCNN

        self.mtcnn = MTCNN(keep_all=True, device=device)

    @torch.no_grad()
    def __call__(self, image: Image.Image) -> list[Face]:
        """Returns the faces of an RGB image; see main_first."""
        shrink = min(1.0, DETECTION_SIDE / max(image.size))
        size = [max(1, round(side * shrink)) for side in image.size]
        searched = image.resize(size, Image.Resampling.LANCZOS) if shrink < 1 else image
        if min(searched.size) < self.mtcnn.min_face_size:  # MTCNN fails on these
            return []
        boxes, probabilities, landmarks = self.mtcnn.detect(searched, landmarks=True)
        if boxes is None:
            return []
        faces = []
        for box, probability, points in zip(boxes, probabilities, landmarks, strict=True):
            left, top, right, bottom = map(float, box)
            marks = tuple((float(x), float(y)) for x, y in points)
            faces.append(Face((left, top, right, bottom), marks, float(probability)).moved(0, 0, 1 / shrink))
        return main_first(faces, image.size)


class RememberingDetector:
    """Caches the faces that a detector finds, by the pixels of the image."""

    def __init__(self, detector: FaceDetector):
        self.detector = detector
        self.faces: dict[bytes, list[Face]] = {}

    def __call__(self, image: Image.Image) -> list[Face]:
        """See FaceDetector."""
        key = hashlib.sha256(repr((image.mode, image.size)).encode() + image.tobytes()).digest()
        if key not in self.faces:
            if len(self.faces) == REMEMBERED:
                del self.faces[next(iter(self.faces))]
            self.faces[key] = self.detector(image)
        return self.faces[key]


def crop_squares(images: Tensor, squares: Tensor, size: int) -> Tensor:
    """Cuts ``squares`` [B, 4] (left, top, right, bottom in px) from ``images`` [B, C, H, W].

    Returns crops [B, C, size, size], differentiable in the images. Outside an image, its edge pixels are repeated. A
    square much larger than ``size`` is averaged down first, because bilinear sampling alone would skip pixels.
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
    """Returns the side of the square that cut_square cuts, in px of ``image``."""
    largest = min(image.size)
    return min(largest, face.side * (1 + 2 * margin)) if face and margin is not None else largest


def cut_square(
    image: Image.Image, face: Face | None, side: int, margin: float | None
) -> tuple[Image.Image, Face | None]:
    """Cuts a square from ``image`` and resizes it to ``side`` px. Returns it and the face in it.

    ``margin`` is the space on each side of the face, in face sizes. If it is None or there is no face, the square is
    the largest that fits. It is centred on the face, or on the image without a face, as far as the image allows.
    """
    cut = square_side(image, face, margin)
    return _cut(image, face, (cut, cut), (side, side))


def cut_shape(image: Image.Image, face: Face | None, shape: tuple[int, int]) -> tuple[Image.Image, Face | None]:
    """Cuts the largest part of ``image`` with the aspect ratio of ``shape`` (width, height), resized to ``shape``.

    Returns it and the face in it. The part is centred on the face as far as the image allows.
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

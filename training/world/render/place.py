"""The face's position in the world's images: always the same, up to the few pixels by which views shift it."""

from PIL import Image
from torch import Tensor

from ...faces.find import CROP_SCALE, Face
from .face import SIDE

CROP = 48  # px, side of an embedder's input
_LEFT, _TOP = 8, 11  # px, position of that crop in an image


def known_place(image: Image.Image) -> list[Face]:
    """A FaceDetector for square images of the world, rendered or generated, of any size."""
    side = CROP / CROP_SCALE
    x, y = _LEFT + CROP / 2, _TOP + CROP / 2
    landmarks = ((24.0, 34.0), (40.0, 34.0), (32.0, 43.0), (26.0, 49.0), (38.0, 49.0))
    face = Face((x - 0.4 * side, y - side / 2, x + 0.4 * side, y + side / 2), landmarks)
    return [face.moved(0, 0, image.width / SIDE)]


def face_crops(pictures: Tensor) -> Tensor:
    """Crops ``pictures`` [N, 3, 64, 64] to an embedder's input [N, 3, 48, 48], as crop_squares does."""
    return pictures[..., _TOP : _TOP + CROP, _LEFT : _LEFT + CROP]

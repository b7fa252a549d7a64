"""Where faces are in the world's pictures: always the same place, give or take the few pixels that views move them."""

from PIL import Image
from torch import Tensor, nn

from ..faces import CROP_SCALE, Face
from .drawing import SIDE

CROP = 48  # px, side of what an embedder reads
_LEFT, _TOP, _WIDTH = 16, 22, 96  # px of a picture: the square that an embedder sees, twice as fine as it reads


def known_place(image: Image.Image) -> list[Face]:
    """A FaceDetector for square pictures of the world, drawn or generated; of any size."""
    side = _WIDTH / CROP_SCALE
    x, y = _LEFT + _WIDTH / 2, _TOP + _WIDTH / 2
    landmarks = ((48.0, 68.0), (80.0, 68.0), (64.0, 86.0), (52.0, 98.0), (76.0, 98.0))
    face = Face((x - 0.4 * side, y - side / 2, x + 0.4 * side, y + side / 2), landmarks)
    return [face.moved(0, 0, image.width / SIDE)]


def face_crops(pictures: Tensor) -> Tensor:
    """The crops [N, 3, 48, 48] that an embedder reads of ``pictures`` of 64 or 128 px, as crop_squares cuts them."""
    scale = pictures.shape[-1] / SIDE
    left, top, width = (round(scale * edge) for edge in (_LEFT, _TOP, _WIDTH))
    return nn.functional.avg_pool2d(pictures[..., top : top + width, left : left + width], width // CROP)

"""From predicted clean latents to face embeddings, decoding only a window around each face."""

import torch
from torch import Tensor

from ..faces.embedders import FaceEmbedder
from ..models.interface import Codec


def decode_windows(codec: Codec, x_0: Tensor, squares: Tensor, window: int, bf16: bool) -> tuple[Tensor, Tensor]:
    """Decodes the ``window`` x ``window`` latents around ``squares`` [K, 4], given in px of the image.

    Returns pixels [K, 3, H, W] and the windows' top left corners [K, 2], px. A window never exceeds the image.
    """
    factor, sides = codec.factor, torch.tensor([x_0.shape[-1], x_0.shape[-2]])
    span = sides.clamp(max=window)
    middle = (squares[:, :2] + squares[:, 2:]) / (2 * factor)
    corners = (middle - span / 2).round().long().clamp(min=0).minimum(sides - span)
    width, height = span.tolist()
    windows = [
        latent[..., top : top + height, left : left + width]
        for latent, (left, top) in zip(x_0, corners.tolist(), strict=True)
    ]
    with torch.autocast(x_0.device.type, torch.bfloat16, enabled=bf16):
        return codec.decode(torch.stack(windows)), factor * corners


class FaceReader:
    """phi(c(D(x_0))): decodes, crops the face, embeds. The networks are frozen; gradients reach the latents.

    ``window`` is the side of the decoded window in latents. The decoder computes in bfloat16 if ``bf16``, otherwise in
    its own dtype: VAEs overflow in float16.
    """

    def __init__(self, codec: Codec, embedder: FaceEmbedder, window: int, bf16: bool = False):
        self.codec, self.embedder, self.window, self.bf16 = codec, embedder, window, bf16

    def __call__(self, x_0: Tensor, squares: Tensor, landmarks: Tensor) -> Tensor:
        """The embeddings [K, D], unit vectors, of the faces in ``x_0`` [K, C, ..., h, w].

        ``squares`` [K, 4] and ``landmarks`` [K, 5, 2] locate the faces in px of the image.
        """
        pixels, shift = decode_windows(self.codec, x_0, squares, self.window, self.bf16)
        crops = self.embedder.crop(pixels, squares - shift.repeat(1, 2), landmarks - shift[:, None])
        return self.embedder(crops)

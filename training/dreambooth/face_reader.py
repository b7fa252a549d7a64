"""From a predicted clean latent to the embedding of the face in it, decoding the face's window only."""

import torch
from torch import Tensor

from ..faces.embedders import FaceEmbedder
from ..models.interface import Codec


def decode_windows(codec: Codec, x_0: Tensor, squares: Tensor, window: int, bf16: bool) -> tuple[Tensor, Tensor]:
    """Pixels [K, 3, H, W] of the ``window`` x ``window`` latents around ``squares`` [K, 4], px of the picture.

    A picture that is narrower or lower is decoded in all of its width or height. Beside them where they lie in the
    picture, [K, 2], px.
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
    """phi(c(D(x_0))): decode, cut out the face, embed. Frozen, yet gradients flow back to the latents.

    ``window`` is the side of what is decoded, in latents. With ``bf16`` the decoder computes in it, else in its own
    dtype: VAEs overflow in fp16.
    """

    def __init__(self, codec: Codec, embedder: FaceEmbedder, window: int, bf16: bool = False):
        self.codec, self.embedder, self.window, self.bf16 = codec, embedder, window, bf16

    def __call__(self, x_0: Tensor, squares: Tensor, landmarks: Tensor) -> Tensor:
        """Unit vectors [K, D] of the faces in ``x_0`` [K, C, ..., h, w].

        ``squares`` [K, 4] and ``landmarks`` [K, 5, 2] say where they are, in px of the picture.
        """
        pixels, shift = decode_windows(self.codec, x_0, squares, self.window, self.bf16)
        crops = self.embedder.crop(pixels, squares - shift.repeat(1, 2), landmarks - shift[:, None])
        return self.embedder(crops)

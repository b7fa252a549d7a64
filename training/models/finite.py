"""Blames a VAE for numbers that are not finite, before a loss or a preview shows them."""

from torch import Tensor

from ..errors import UnsupportedModel
from .interface import Codec


def require_finite(codec: Codec, values: Tensor, action: str) -> None:
    """Raises UserError if the VAE's output has nan or inf. ``action`` is what it did, such as "encoding 1.png"."""
    if not bool(values.isfinite().all()):
        raise UnsupportedModel(
            f"The {codec.name} gives numbers that are not finite (nan or inf) when {action}. Its file is damaged, or "
            "its number format overflows: use another VAE of this family, or load it in float32."
        )

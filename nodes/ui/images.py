"""Converts between ComfyUI's IMAGE and MASK tensors and PIL images."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ...training.errors import InvalidData
from ...training.pictures.photos import abridged


def to_pictures(batches: list[Tensor]) -> list[Image.Image]:
    """Converts a list of IMAGE batches in [0, 1] to 8-bit RGB images.

    Batches are [B, H, W, 3 or more]. Other nodes also send [B, H, W, 1 or 2] with grey in the first channel, a single
    image [H, W, C], or masks [B, H, W]. Raises UserError if a value is nan or infinite: it would become black.
    """
    images = [image for batch in batches for image in _four_dimensions(batch)]
    _refuse_nan("images", images)
    pixels = [_rgb(image).float().clamp(0, 1).cpu().numpy() for image in images]
    return [Image.fromarray((image * 255).round().astype(np.uint8)) for image in pixels]


def _four_dimensions(batch: Tensor) -> Tensor:
    if batch.ndim == 3:
        return batch[None] if batch.shape[-1] <= 4 else batch[..., None]
    return batch


def _refuse_nan(what: str, tensors: Sequence[Tensor]) -> None:
    """Raises UserError if a tensor has values that are not finite; 8 bits would turn them into black."""
    broken = [str(number) for number, tensor in enumerate(tensors, 1) if not tensor.isfinite().all()]
    if broken:
        raise InvalidData(
            f"{len(broken)} of {len(tensors)} {what} have pixels that are nan or infinite: {abridged(broken)}. Check "
            "the node that they come from. A VAE in fp16 is a common cause."
        )


def _rgb(image: Tensor) -> Tensor:
    return image[..., :3] if image.shape[-1] >= 3 else image[..., :1].expand(-1, -1, 3)


def to_batch(pictures: Sequence[Image.Image]) -> Tensor:
    """Converts images of one size to an IMAGE batch [B, H, W, 3], float32 in [0, 1]."""
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]).astype(np.float32) / 255)


def to_masks(batches: list[Tensor]) -> list[Image.Image]:
    """Converts a list of MASK batches [B, H, W] or single masks [H, W], in [0, 1], to 8-bit grey images.

    Raises UserError if a value is nan or infinite.
    """
    masks = [mask for batch in batches for mask in (batch if batch.ndim == 3 else batch[None])]
    _refuse_nan("masks", masks)
    return [Image.fromarray((mask.float().clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8)) for mask in masks]


def to_batches(pictures: Sequence[Image.Image]) -> list[Tensor]:
    """Returns one batch if all images have the same size, else one batch per image, in order."""
    if len({picture.size for picture in pictures}) == 1:
        return [to_batch(pictures)]
    return [to_batch([picture]) for picture in pictures]

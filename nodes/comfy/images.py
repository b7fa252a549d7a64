"""ComfyUI's IMAGE batches to pictures and back."""

from collections.abc import Sequence

import numpy as np
import torch
from comfy_api.latest import ui
from PIL import Image, ImageOps
from torch import Tensor

from ...training.dreambooth.captions import with_ages
from ...training.errors import UserError
from ...training.pictures.photos import Photo
from ...training.pictures.sheet import contact_sheet

THUMBNAIL, THUMBNAILS = 160, 6  # px; in a row


def to_pictures(batches: list[Tensor]) -> list[Image.Image]:
    """Every picture of a list of IMAGE batches in [0, 1] as 8-bit RGB.

    Batches are [B, H, W, 3 or more], or what other nodes hand over: [B, H, W, 1 or 2], whose first channel is grey, a
    picture [H, W, C] alone, or masks [B, H, W].
    """
    images = [image for batch in batches for image in _four_dimensions(batch)]
    pixels = [_rgb(image).float().clamp(0, 1).cpu().numpy() for image in images]
    return [Image.fromarray((image * 255).round().astype(np.uint8)) for image in pixels]


def photos_of(
    batches: list[Tensor],
    ages: list[str] | None = None,
    captions: list[str] | None = None,
    masks: list[Tensor] | None = None,
) -> list[Photo]:
    """A subject's photos out of IMAGE batches, with their ages, as a list or in one text, their captions and masks.

    Raises UserError for another number of ages, captions or masks than of photos, and for what is no age.
    """
    pictures = to_pictures(batches)
    texts = captions or [""] * len(pictures)
    shapes = to_masks(masks) if masks else [None] * len(pictures)
    for what, found in (("captions", texts), ("masks", shapes)):
        if len(found) != len(pictures):
            raise UserError(
                f"There are {len(pictures)} photos but {len(found)} {what}; wire both from one Load Photos."
            )
    photos = [
        Photo(f"photo {number}", picture, caption=text or None, mask=mask)
        for number, (picture, text, mask) in enumerate(zip(pictures, texts, shapes, strict=True), 1)
    ]
    return with_ages(photos, ", ".join(ages)) if ages else photos


def _four_dimensions(batch: Tensor) -> Tensor:
    if batch.ndim == 3:
        return batch[None] if batch.shape[-1] <= 4 else batch[..., None]
    return batch


def _rgb(image: Tensor) -> Tensor:
    return image[..., :3] if image.shape[-1] >= 3 else image[..., :1].expand(-1, -1, 3)


def to_batch(pictures: Sequence[Image.Image]) -> Tensor:
    """Pictures of one size as an IMAGE batch [B, H, W, 3], float32 in [0, 1]."""
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]).astype(np.float32) / 255)


def to_masks(batches: list[Tensor]) -> list[Image.Image]:
    """Every mask of a list of MASK batches [B, H, W] or masks [H, W], in [0, 1], as 8-bit grey."""
    masks = [mask for batch in batches for mask in (batch if batch.ndim == 3 else batch[None])]
    return [Image.fromarray((mask.float().clamp(0, 1).cpu().numpy() * 255).round().astype(np.uint8)) for mask in masks]


def to_batches(pictures: Sequence[Image.Image]) -> list[Tensor]:
    """One batch where all pictures have one size, else a batch for each, in their order."""
    if len({picture.size for picture in pictures}) == 1:
        return [to_batch(pictures)]
    return [to_batch([picture]) for picture in pictures]


def kept_on_node(text: str, picture: Image.Image) -> dict:
    """What stays on a node after it ran, and is there again when it is found in the cache."""
    return ui.PreviewImage(to_batch([picture])).as_dict() | ui.PreviewText(text).as_dict()


def thumbnails(pictures: Sequence[Image.Image]) -> Image.Image:
    """All of them in one picture."""
    squares = [ImageOps.pad(picture, (THUMBNAIL, THUMBNAIL)) for picture in pictures]
    return contact_sheet(squares, [""] * len(squares), THUMBNAILS)

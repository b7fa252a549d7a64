"""ComfyUI's IMAGE batches to pictures and back."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor


def to_pictures(batches: list[Tensor]) -> list[Image.Image]:
    """Every picture of a list of IMAGE batches [B, H, W, 3 or more], in [0, 1], as 8-bit RGB."""
    pixels = [image[..., :3].float().clamp(0, 1).cpu().numpy() for batch in batches for image in batch]
    return [Image.fromarray((image * 255).round().astype(np.uint8)) for image in pixels]


def to_batch(pictures: list[Image.Image]) -> Tensor:
    """Pictures of one size as an IMAGE batch [B, H, W, 3], float32 in [0, 1]."""
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures]).astype(np.float32) / 255)


def to_batches(pictures: list[Image.Image]) -> list[Tensor]:
    """One batch where all pictures have one size, else a batch for each, in their order."""
    if len({picture.size for picture in pictures}) == 1:
        return [to_batch(pictures)]
    return [to_batch([picture]) for picture in pictures]

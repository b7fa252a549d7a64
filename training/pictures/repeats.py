"""Finds duplicate images: copies, also if saved again, resized or mirrored."""

from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image
from torch import Tensor

SIDE = 32  # px
# Correlation above which two images count as duplicates. Different photos of one person reach at most 0.82 (171 pairs),
# and 0.97 in the synthetic world; a photo has 0.995 with its copy as a JPEG of quality 30 or at half its size.
SAME = 0.985


def signature(image: Image.Image) -> Tensor:
    """Returns the image in grey at low resolution, [SIDE, SIDE] float32, for comparison with others."""
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX)
    return torch.from_numpy(np.array(small, dtype=np.float32))


def correlation(rows: Sequence[Tensor], columns: Sequence[Tensor]) -> np.ndarray:
    """Returns the zero-normalised cross-correlation [R, C] of grey images of the same size.

    Each value is the larger one of the image and its mirror image.
    """
    mirrored = [picture.flip(-1) for picture in columns]
    return np.maximum(_correlation(rows, columns), _correlation(rows, mirrored))


def repeated(pictures: Sequence[Tensor]) -> dict[int, int]:
    """Returns the index of each duplicate among grey images of the same size, and the index of its original."""
    if not pictures:
        return {}
    same = correlation(pictures, pictures) >= SAME
    return {index: int(row[:index].argmax()) for index, row in enumerate(same) if row[:index].any()}


def copies(pictures: Sequence[Tensor], others: Sequence[Tensor]) -> dict[int, int]:
    """Returns the index of each grey image that has a duplicate among ``others``, and the index of the duplicate."""
    if not pictures or not others:
        return {}
    same = correlation(pictures, others) >= SAME
    return {index: int(row.argmax()) for index, row in enumerate(same) if row.any()}


def _correlation(rows: Sequence[Tensor], columns: Sequence[Tensor]) -> np.ndarray:
    sides = [torch.stack(list(side)).double().flatten(1) for side in (rows, columns)]
    left, right = (torch.nn.functional.normalize(side - side.mean(1, keepdim=True)) for side in sides)
    return (left @ right.T).numpy()

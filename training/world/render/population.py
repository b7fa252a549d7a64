"""Who lives in the world, and who is kept apart: every purpose has people of its own."""

import numpy as np
import torch
from torch import Tensor

from ...ages import AGE_CLASSES, CLASS_YEARS

# First seeds. Nobody whom a network was trained on is ever a subject or a test.
HELD_OUT = 0
BASE_MODEL = 1_000_000
LOSS_EMBEDDER = 2_000_000
SCORE_EMBEDDER = 3_000_000
AGE_ESTIMATOR = 4_000_000
AGE_JUDGE = 5_000_000


def some_ages(seeds: range) -> Tensor:
    """An age in years for each seed, float32 [N]: the six classes alike, and alike within a class."""
    draws = np.stack([np.random.default_rng((4, seed)).random(2) for seed in seeds])
    limits = np.array([CLASS_YEARS[name] for name in AGE_CLASSES])[(draws[:, 0] * len(AGE_CLASSES)).astype(int)]
    years = limits[:, 0] + draws[:, 1] * (limits[:, 1] + 1 - limits[:, 0])
    return torch.from_numpy(years.astype(np.float32))

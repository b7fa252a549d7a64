"""Seeds and ages of the world's people. Each purpose has its own range of people."""

import numpy as np
import torch
from torch import Tensor

from ...ages import AGE_CLASSES, CLASS_YEARS

# First seed of each range. Subjects and tests never use people that a network was trained on.
HELD_OUT = 0
BASE_MODEL = 1_000_000
LOSS_EMBEDDER = 2_000_000
SCORE_EMBEDDER = 3_000_000
AGE_ESTIMATOR = 4_000_000
AGE_JUDGE = 5_000_000


def some_ages(seeds: range) -> Tensor:
    """Returns an age in years per seed, float32 [N]: uniform over the six classes and within each class."""
    draws = np.stack([np.random.default_rng((4, seed)).random(2) for seed in seeds])
    limits = np.array([CLASS_YEARS[name] for name in AGE_CLASSES])[(draws[:, 0] * len(AGE_CLASSES)).astype(int)]
    years = limits[:, 0] + draws[:, 1] * (limits[:, 1] + 1 - limits[:, 0])
    return torch.from_numpy(years.astype(np.float32))

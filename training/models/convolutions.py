"""Faster convolutions of small images on the CPU."""

from contextlib import AbstractContextManager, nullcontext

import torch

SMALL = 4  # side of the feature map from which oneDNN pays off


def fast_convolutions(device: torch.device, deepest: int) -> AbstractContextManager:
    """Returns a context that turns oneDNN off on the CPU if the smallest feature map is under ``SMALL`` wide.

    oneDNN reorders every kernel on every call, which costs more than convolving a small map. ``deepest`` is the side
    of the network's smallest feature map.
    """
    small = device.type == "cpu" and deepest < SMALL
    return torch.backends.mkldnn.flags(enabled=False) if small else nullcontext()

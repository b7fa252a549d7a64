"""How a CPU convolves small pictures fast."""

from contextlib import AbstractContextManager, nullcontext

import torch

SMALL = 4  # side of the deepest map


def fast_convolutions(device: torch.device, deepest: int) -> AbstractContextManager:
    """For a network whose smallest map has ``deepest`` as its side.

    On the CPU oneDNN reorders each kernel at each call, which costs more than convolving a small map.
    """
    small = device.type == "cpu" and deepest < SMALL
    return torch.backends.mkldnn.flags(enabled=False) if small else nullcontext()

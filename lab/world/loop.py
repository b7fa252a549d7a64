"""A small training loop that can be stopped at any time and resumed."""

import copy
import functools
import math
import operator
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from training.files import written
from training.weights import read_pickle

FOLDER = Path.home() / "world-train"
SAVE_SECONDS = 90

Network = TypeVar("Network", bound=nn.Module)


def best_device() -> torch.device:
    """Returns the GPU if there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run(
    module: Network,
    loss: Callable[[Network, torch.Generator], dict[str, Tensor]],
    file: Path,
    steps: int,
    rate: float,
    seed: int,
    weight_decay: float = 1e-2,
    ema: float = 0.999,
    log_every: int = 50,
) -> Network:
    """Minimises the sum of ``loss`` terms with AdamW and a cosine schedule in bf16; returns the averaged module.

    All randomness comes from a generator seeded by (seed, step), so a resumed run equals an uninterrupted one. The
    state is saved to ``file``, with the log beside it.
    """
    device = best_device()
    module.to(device).train()
    average = copy.deepcopy(module).requires_grad_(False).eval()
    weights = list(module.parameters())
    optimizer = torch.optim.AdamW(weights, lr=rate, weight_decay=weight_decay, betas=(0.9, 0.99), fused=True)
    done = 0
    if file.exists():
        state = read_pickle(file)
        module.load_state_dict(state["module"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        done = state["done"]
    saved, sums = time.monotonic(), {}
    for number in range(done, steps):
        for group in optimizer.param_groups:
            cosine = (1 + math.cos(math.pi * number / steps)) / 2
            group["lr"] = rate * min(1, (number + 1) / 100) * (0.02 + 0.98 * cosine)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + number)
        with torch.autocast(device.type, torch.bfloat16):
            terms = loss(module, generator)
        functools.reduce(operator.add, terms.values()).backward()
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        decay = min(ema, (number + 1) / (number + 10))
        with torch.no_grad():
            for kept, new in zip(average.state_dict().values(), module.state_dict().values(), strict=True):
                kept.lerp_(new, 1 - decay) if kept.is_floating_point() else kept.copy_(new)
        for name, value in terms.items():
            sums[name] = sums.get(name, 0.0) + value.detach().float()
        if (number + 1) % log_every == 0:
            shown = " ".join(f"{name} {float(value) / log_every:.4f}" for name, value in sums.items())
            with file.with_suffix(".log").open("a") as log:
                log.write(f"{number + 1} {shown}\n")
            sums = {}
        if time.monotonic() - saved > SAVE_SECONDS or number + 1 == steps:
            with written(file) as temporary:
                state = {"module": module.state_dict(), "average": average.state_dict(), "done": number + 1}
                torch.save(state | {"optimizer": optimizer.state_dict()}, temporary)
            saved = time.monotonic()
    return average

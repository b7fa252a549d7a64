"""How a run differs from the one that left a state, in words."""

from typing import Any

import torch

NAMED = 5  # pictures that a refusal names


def machine(device: torch.device) -> dict[str, Any]:
    """What the last bits of a sum depend on beside the numbers."""
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "torch": str(torch.__version__),
    }


def changes(was: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """How a run differs from the one that is asked for, in words; pictures by their names."""
    found = []
    for name in sorted(was.keys() | now.keys()):
        before, after = was.get(name), now.get(name)
        if before == after:
            continue
        if isinstance(before, dict) and isinstance(after, dict):
            words = {key: "gone" if key not in after else "new" if key not in before else "changed"
                     for key in before | after if before.get(key) != after.get(key)}  # fmt: skip
            shown = [f"{key} is {word}" for key, word in words.items()]
            found += shown[:NAMED] + ([f"{len(shown) - NAMED} more pictures differ"] if len(shown) > NAMED else [])
        else:
            found.append(f"{name} {_short(before)} (now {_short(after)})")
    return found


def _short(value: Any) -> str:
    words = str(value)
    return words if len(words) <= 40 else f"{words[:8]}..."

"""Training pictures, drawn once and kept in a folder, part by part, so that an interrupted run goes on."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.files import written
from training.world.render.face import SIDE, draw
from training.world.render.population import some_ages
from training.world.render.traits import disguised, identities, views

PART = 1024  # pictures a file


@dataclass(frozen=True)
class Pool:
    """Pictures with who and how old."""

    pictures: Tensor  # uint8 [N, 3, 64, 64]
    people: Tensor  # int64 [N], 0 for the first person
    ages: Tensor  # years, float32 [N]


def pixels(pictures: Tensor) -> Tensor:
    """uint8 pictures as float32 in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def pool(folder: Path, first: int, count: int, per_person: int, disguise: bool, device: torch.device) -> Pool:
    """``count`` pictures, ``per_person`` of each person from seed ``first`` on, at any age and in any view.

    With ``disguise``, two pictures of three have other hair, beards and glasses. What ``folder`` holds is kept.
    """
    parts = []
    for start in range(0, count, PART):
        file = folder / f"{first}-{per_person}-{SIDE}-{start:07}.safetensors"
        numbers = range(start, min(start + PART, count))
        if not file.exists():
            with written(file) as temporary:
                save_file(_part(first, numbers, per_person, disguise, device), temporary)
        parts.append(load_file(file))
    return Pool(*(torch.cat([part[name] for part in parts]) for name in ("pictures", "people", "ages")))


def _part(first: int, numbers: range, per_person: int, disguise: bool, device: torch.device) -> dict[str, Tensor]:
    seeds = range(first + numbers.start, first + numbers.stop)
    people = torch.tensor([number // per_person for number in numbers])
    rows = identities(first + person for person in people.tolist())
    if disguise:
        hidden = torch.tensor([number % 3 > 0 for number in numbers])
        rows = torch.where(hidden[:, None], disguised(rows, seeds), rows)
    ages = some_ages(seeds)
    drawn = draw(rows.to(device), ages.to(device), views(seeds).to(device))
    return {"pictures": ((drawn + 1) * 127.5).round().byte().cpu(), "people": people, "ages": ages}

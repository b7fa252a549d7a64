"""Training images, rendered once and saved in parts, so that an interrupted run can resume."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.files import written
from training.world.render.face import SIDE, draw
from training.world.render.population import some_ages
from training.world.render.traits import disguised, identities, views

PART = 1024  # images per file


@dataclass(frozen=True)
class Pool:
    """Images with person and age."""

    pictures: Tensor  # uint8 [N, 3, 64, 64]
    people: Tensor  # int64 [N], 0 for the first person
    ages: Tensor  # years, float32 [N]


def pixels(pictures: Tensor) -> Tensor:
    """Converts uint8 images to float32 in [-1, 1]."""
    return pictures.float() / 127.5 - 1


def pool(folder: Path, first: int, count: int, per_person: int, disguise: bool, device: torch.device) -> Pool:
    """Returns ``count`` images, ``per_person`` of each person from seed ``first`` on, at random ages and views.

    With ``disguise``, two of three images have other hair, beards and glasses. Parts already in ``folder`` are reused.
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
        in_disguise = torch.tensor([number % 3 > 0 for number in numbers])
        rows = torch.where(in_disguise[:, None], disguised(rows, seeds), rows)
    ages = some_ages(seeds)
    rendered = draw(rows.to(device), ages.to(device), views(seeds).to(device))
    return {"pictures": ((rendered + 1) * 127.5).round().byte().cpu(), "people": people, "ages": ages}

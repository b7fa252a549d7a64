"""Renders a subject's photos and a regularization set, of people that no network was trained on."""

from pathlib import Path

import torch
from PIL import Image

from ...ages import AGE_CLASSES, CLASS_YEARS
from ...pictures.photos import save, to_image
from .face import draw
from .population import HELD_OUT
from .traits import identities, views

SUBJECT = HELD_OUT + 21  # the default of `python -m training world --photos`
OTHERS = HELD_OUT + 500_000  # the people of regularization sets


def photos(person: int, years: float, count: int, first_view: int = 0) -> list[Image.Image]:
    """Renders ``count`` photos, 64 px square, of the held-out ``person`` at ``years``."""
    seeds = range(1000 * person + first_view, 1000 * person + first_view + count)
    rendered = draw(identities([person]).repeat(count, 1), torch.full((count,), float(years)), views(seeds))
    return [to_image(picture) for picture in rendered]


def age_set(per_class: int, first_person: int = OTHERS) -> dict[str, list[Image.Image]]:
    """Renders faces of other people, ``per_class`` per age class, each person once."""
    result = {}
    for place, name in enumerate(AGE_CLASSES):
        seeds = range(first_person + place * per_class, first_person + (place + 1) * per_class)
        low, high = CLASS_YEARS[name]
        ages = torch.linspace(low, high, per_class + 2)[1:-1]
        result[name] = [to_image(picture) for picture in draw(identities(seeds), ages, views(seeds))]
    return result


def write_photos(folder: Path, person: int = SUBJECT, years: float = 28, count: int = 8, per_class: int = 20) -> None:
    """Writes ``folder``/photos and ``folder``/ages, for --subject and --regularization of the train command."""
    pictures = {f"photos/{number:02}.png": picture for number, picture in enumerate(photos(person, years, count), 1)}
    for name, faces in age_set(per_class).items():
        pictures |= {f"ages/{name}_{number:04}.png": face for number, face in enumerate(faces, 1)}
    for name, picture in pictures.items():
        save(picture, folder / name)

"""Renders images from people, ages and views."""

import torch
from torch import Tensor

from . import features
from .aging import measure
from .fields import between, lit, over, step
from .hair import hair_behind, hair_colour, hair_in_front
from .scenery import body, ears, skin_colour, wall
from .shape import grid, outline, relief, shading
from .traits import IDENTITY_TRAITS, VIEW_TRAITS, named

SIDE = 64  # px; a larger side would need a larger base model
_CHUNK = 8  # faces per pass on a CPU; their arrays fit into a core's cache


@torch.no_grad()
def draw(people: Tensor, ages: Tensor, views: Tensor, side: int = SIDE, supersample: int = 2) -> Tensor:
    """Renders ``people`` [N, D] at ``ages`` [N] in years, seen as ``views`` [N, V] describe.

    Returns images [N, 3, side, side], float32 in [-1, 1], rendered ``supersample`` times as large and averaged down.
    """
    chunk = _CHUNK if people.device.type == "cpu" else len(people)
    with people.device:
        parts = [
            _render(*rows, side * supersample)
            for rows in zip(people.split(chunk), ages.split(chunk), views.split(chunk), strict=True)
        ]
    pictures = [torch.nn.functional.avg_pool2d(part, supersample) for part in parts]
    return torch.cat(pictures).clamp(0, 1) * 2 - 1


def _render(people: Tensor, ages: Tensor, views: Tensor, side: int) -> Tensor:
    """Renders images [N, 3, side, side] in [0, 1] from back to front, before averaging."""
    p, view, m = named(people, IDENTITY_TRAITS), named(views, VIEW_TRAITS), measure(people, ages)
    g = grid(side, view, m)
    edge = outline(g, m)
    light, gloss = shading(relief(g, m, p, edge, view), g, view)
    across = (0.80 + 0.25 * (0.5 - g.hx * between(-0.4, 0.4, 1 - view.light_x)) - 0.10 * g.hy).clamp(0.4, 1.15)
    skin = skin_colour(m, p)
    hair = hair_colour(m, p)

    picture = wall(g, view)
    picture = hair_behind(picture, hair, across, g, m, p, view)
    picture = body(picture, skin, across, g, m, view)
    picture = ears(picture, skin, across, g, m)
    face = features.skin_marks(skin.expand(-1, -1, side, side), g, m, p)
    face = lit(face, light) + (0.10 - 0.03 * m.late[:, None]) * gloss[:, None]
    picture = over(picture, face.clamp(0, 1), step(-edge, 0.9 * g.pixel))
    picture = features.nose(picture, g, m, p)
    picture = features.beard(picture, hair, light, edge, g, m, p)
    picture = features.mouth(picture, skin, light, g, m, p, view)
    picture = features.eyes(picture, light, g, m, p, view)
    brow = torch.lerp(hair * 0.72, hair, m.grey[:, None] * 0.8)
    picture = features.brows(picture, brow, light, g, m, p, view)
    picture = hair_in_front(picture, hair, across, edge, g, m, p, view)
    picture = features.glasses(picture, g, m, p)
    warm = between(-0.05, 0.05, view.light_warm)[:, None]
    tint = torch.cat([1 + warm, torch.ones_like(warm), 1 - warm], dim=1)
    return (picture * tint * between(0.92, 1.08, view.exposure)[:, None]).clamp(0, 1)

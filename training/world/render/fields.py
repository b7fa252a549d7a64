"""Shapes as soft masks: signed distances and bumps over a grid of points, all [N, H, W]."""

from collections.abc import Sequence

import torch
from torch import Tensor


def between(low: float, high: float, share: Tensor) -> Tensor:
    """The value at ``share`` of the way from ``low`` to ``high``."""
    return low + (high - low) * share


def step(distance: Tensor, softness: float | Tensor) -> Tensor:
    """0 where ``distance`` is below -softness, 1 above +softness, smooth in between (Perlin's smoothstep)."""
    t = (distance / (2 * softness) + 0.5).clamp(0, 1)
    return t * t * (3 - 2 * t)


def bump(x: Tensor, y: Tensor, width: float | Tensor, height: float | Tensor) -> Tensor:
    """A Gaussian hill of 1 at the origin."""
    return torch.exp(-((x / width) ** 2) - (y / height) ** 2)


def stroke(distance: Tensor, width: float | Tensor) -> Tensor:
    """A soft line of 1 where ``distance`` is 0."""
    return torch.exp(-((distance / width) ** 2))


def ellipse(x: Tensor, y: Tensor, width: float | Tensor, height: float | Tensor) -> Tensor:
    """Distance to an ellipse's edge along the ray from its centre, negative inside."""
    reach = ((x / width) ** 2 + (y / height) ** 2).sqrt().clamp_min(1e-4)
    return (x * x + y * y).sqrt() * (1 - 1 / reach)


def segment(x: Tensor, y: Tensor, start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor]) -> Tensor:
    """Distance to the straight line between two points."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    px, py = x - start[0], y - start[1]
    along = ((px * dx + py * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    return ((px - along * dx) ** 2 + (py - along * dy) ** 2).sqrt()


def over(picture: Tensor, colour: Tensor, mask: Tensor) -> Tensor:
    """``colour`` (broadcast to [N, 3, H, W]) laid over ``picture`` [N, 3, H, W] where ``mask`` [N, H, W] is 1."""
    return torch.lerp(picture, colour.expand_as(picture), mask[:, None])


def rgb(red: float, green: float, blue: float) -> Tensor:
    """A colour as [1, 3, 1, 1]."""
    return torch.tensor((red, green, blue), dtype=torch.float32)[None, :, None, None]


def lit(colour: Tensor, light: Tensor) -> Tensor:
    """Skin's ``colour`` under ``light`` [N, H, W]: shadows are a warm brown, since light goes into skin."""
    return colour * torch.lerp(rgb(0.30, 0.13, 0.10), rgb(1, 1, 1), light.clamp(0, 1.1)[:, None])


def palette(colours: Sequence[tuple[float, float, float]], place: Tensor) -> Tensor:
    """The colour [N, 3, 1, 1] at ``place`` [N, 1, 1] in [0, 1] along a row of sRGB ``colours``, blended."""
    table = torch.tensor(colours)
    position = place.flatten().clamp(0, 1) * (len(table) - 1)
    low = position.floor().long().clamp_max(len(table) - 2)
    return torch.lerp(table[low], table[low + 1], (position - low)[:, None])[:, :, None, None]

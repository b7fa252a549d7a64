"""Soft masks from signed distances and bumps over a grid of points, all [N, H, W]."""

from collections.abc import Sequence

import torch
from torch import Tensor


def between(low: float, high: float, share: Tensor) -> Tensor:
    """Interpolates from ``low`` at ``share`` 0 to ``high`` at 1."""
    return low + (high - low) * share


def step(distance: Tensor, softness: float | Tensor) -> Tensor:
    """Returns 0 below ``distance`` -softness, 1 above +softness, and Perlin's smoothstep in between."""
    t = (distance / (2 * softness) + 0.5).clamp(0, 1)
    return t * t * (3 - 2 * t)


def bump(x: Tensor, y: Tensor, width: float | Tensor, height: float | Tensor) -> Tensor:
    """Returns a Gaussian bump that is 1 at the origin."""
    return torch.exp(-((x / width) ** 2) - (y / height) ** 2)


def stroke(distance: Tensor, width: float | Tensor) -> Tensor:
    """Returns a soft line that is 1 at ``distance`` 0."""
    return torch.exp(-((distance / width) ** 2))


def ellipse(x: Tensor, y: Tensor, width: float | Tensor, height: float | Tensor) -> Tensor:
    """Returns the distance to an ellipse's edge along the ray from its centre, negative inside."""
    reach = ((x / width) ** 2 + (y / height) ** 2).sqrt().clamp_min(1e-4)
    return (x * x + y * y).sqrt() * (1 - 1 / reach)


def segment(x: Tensor, y: Tensor, start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor]) -> Tensor:
    """Returns the distance to the line segment between two points."""
    dx, dy = end[0] - start[0], end[1] - start[1]
    px, py = x - start[0], y - start[1]
    along = ((px * dx + py * dy) / (dx * dx + dy * dy)).clamp(0, 1)
    return ((px - along * dx) ** 2 + (py - along * dy) ** 2).sqrt()


def over(picture: Tensor, colour: Tensor, mask: Tensor) -> Tensor:
    """Blends ``colour`` (broadcast to [N, 3, H, W]) over ``picture`` [N, 3, H, W] by ``mask`` [N, H, W]."""
    return torch.lerp(picture, colour.expand_as(picture), mask[:, None])


def rgb(red: float, green: float, blue: float) -> Tensor:
    """Returns a colour as [1, 3, 1, 1]."""
    return torch.tensor((red, green, blue), dtype=torch.float32)[None, :, None, None]


def lit(colour: Tensor, light: Tensor) -> Tensor:
    """Lights skin ``colour`` by ``light`` [N, H, W]. Shadows are a warm brown, as light scatters below the skin."""
    return colour * torch.lerp(rgb(0.30, 0.13, 0.10), rgb(1, 1, 1), light.clamp(0, 1.1)[:, None])


def palette(colours: Sequence[tuple[float, float, float]], place: Tensor) -> Tensor:
    """Interpolates a row of sRGB ``colours`` at ``place`` [N, 1, 1] in [0, 1]; returns [N, 3, 1, 1]."""
    table = torch.tensor(colours)
    position = place.flatten().clamp(0, 1) * (len(table) - 1)
    low = position.floor().long().clamp_max(len(table) - 2)
    return torch.lerp(table[low], table[low + 1], (position - low)[:, None])[:, :, None, None]

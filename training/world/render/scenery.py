"""Wall, neck, clothes and ears around the face, and the skin's colour."""

import torch
from torch import Tensor

from .fields import between, ellipse, lit, over, palette, step, stroke
from .traits import Named

SKINS = (
    (0.97, 0.80, 0.70),
    (0.93, 0.73, 0.59),
    (0.86, 0.65, 0.49),
    (0.70, 0.48, 0.34),
    (0.50, 0.32, 0.23),
    (0.36, 0.23, 0.17),
)
WALLS = ((0.62, 0.66, 0.70), (0.56, 0.66, 0.66), (0.72, 0.66, 0.56), (0.70, 0.60, 0.58), (0.58, 0.60, 0.70))
CLOTHS = (
    (0.20, 0.24, 0.34),
    (0.46, 0.20, 0.22),
    (0.24, 0.36, 0.30),
    (0.78, 0.76, 0.72),
    (0.26, 0.26, 0.28),
    (0.60, 0.48, 0.28),
)


def skin_colour(m: Named, p: Named) -> Tensor:
    """Returns the skin's colour [N, 3, 1, 1], paler in old age."""
    green, blue = between(1.03, 0.97, p.skin_warmth), between(1.06, 0.92, p.skin_warmth)
    colour = palette(SKINS, p.skin_tone) * torch.stack([torch.ones_like(green), green, blue], dim=1)
    pale = 0.5 * colour + 0.5 * colour.mean(1, keepdim=True)
    return torch.lerp(colour, pale, 0.45 * m.pallor[:, None]).clamp(0, 1)


def wall(g: Named, view: Named) -> Tensor:
    """Returns a studio wall [N, 3, H, W], brightest near the light."""
    colour = palette(WALLS, view.wall_hue) * between(0.55, 1.25, view.wall_light)[:, None]
    glow = 1.08 - 0.22 * ((g.x - between(-0.5, 0.5, view.light_x)) ** 2 + (g.y + 0.3) ** 2)
    slope = 1 + 0.12 * between(-1, 1, view.wall_slope) * g.y
    return (colour * (glow * slope)[:, None]).clamp(0, 1)


def body(picture: Tensor, skin: Tensor, light: Tensor, g: Named, m: Named, view: Named) -> Tensor:
    """Adds neck, shoulders and clothes."""
    neck_width = m.neck + 0.10 * (g.hy - 1.05).clamp_min(0)
    neck = step(neck_width - g.hx.abs(), 1.2 * g.pixel) * step(g.hy - 0.3, 0.05)
    under_chin = step(m.chin + 0.20 - 0.25 * g.hx**2 - g.hy, 0.16)
    shade = light * (1 - 0.45 * under_chin) * (1 - 0.30 * ((g.hx / m.neck).clamp(-1, 1)) ** 2)
    picture = over(picture, lit(skin, shade.clamp(0, 1)), neck)
    shoulders = 1.13 - 0.06 * m.man - 0.02 * m.child + 0.42 * (g.hx / (1.25 - 0.25 * m.child)).abs() ** 2.2
    colour = palette(CLOTHS, view.cloth_hue) * between(0.75, 1.2, view.cloth_light)[:, None]
    cloth = step(g.hy - shoulders, 1.2 * g.pixel)
    folds = 1 - 0.10 * torch.sin(5 * g.hx + 3 * g.hy + 6 * view.hair_phase) - 0.35 * (g.hx / 1.4) ** 2
    crew = ellipse(g.hx, g.hy - 1.02, m.neck + 0.06, 0.28)
    cut = torch.where(view.cloth_cut > 0.6, g.hx.abs() - (1.62 - g.hy) * 0.62, crew)
    return over(picture, (colour * (folds * light)[:, None]).clamp(0, 1), cloth * step(cut, 1.2 * g.pixel))


def ears(picture: Tensor, skin: Tensor, light: Tensor, g: Named, m: Named) -> Tensor:
    """Adds ears behind the head's edge."""
    x = g.hx.abs() - m.head_width * 0.97 - m.ear_out * 0.5
    y = g.hy - m.eye_y * 0.5 - 0.14
    x = x - 0.12 * (-y).clamp(-0.2, 0.2)
    rim = ellipse(x, y, 0.085 + m.ear_out * 0.5, m.ear_height)
    shade = (light * (0.90 - 0.28 * stroke(rim + 0.055, 0.035))).clamp(0, 1)
    return over(picture, lit(skin, shade), step(-rim, 1.1 * g.pixel))

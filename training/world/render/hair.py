"""Hair: the part that falls behind the neck, and the front with its hairline."""

import torch
from torch import Tensor

from .fields import between, over, palette, rgb, step, stroke
from .traits import Named

HAIRS = ((0.07, 0.055, 0.055), (0.17, 0.10, 0.07), (0.33, 0.20, 0.11), (0.55, 0.36, 0.18), (0.80, 0.62, 0.34))
GREY = (0.78, 0.77, 0.76)


def hair_colour(m: Named, p: Named) -> Tensor:
    """Returns colours [N, 3, 1, 1] from black to blond, some red, greying with age; darker skin has darker hair."""
    colour = palette(HAIRS, p.hair_tone * (1.05 - 0.95 * p.skin_tone).clamp(0, 1) + 0.10 * m.child)
    red = ((p.hair_red - 0.72) / 0.28).clamp(0, 1) * (1 - p.skin_tone)
    colour = torch.lerp(colour, rgb(0.58, 0.22, 0.09).expand_as(colour), 0.8 * red[:, None])
    grey = rgb(*GREY).expand_as(colour)
    return torch.lerp(colour, grey, (m.grey * 0.94)[:, None])


def _length(m: Named, p: Named) -> Tensor:
    """Returns the y at which hair ends; for men and babies it is mostly above the ears."""
    long = ((p.hair_length - 0.25) / 0.6).clamp(0, 1) * (1 - 0.75 * (p.masculine > 0.55)) * (1 - m.baby_hair)
    return between(-0.15, 1.45, long) - 0.15 * m.late * long


def strands(g: Named, p: Named, view: Named) -> Tensor:
    """Returns light and dark strands from the crown [N, H, W], about -1 to 1."""
    part = 0.5 * (p.parting - 0.5)
    angle = torch.atan2(g.hx - part, g.hy + 1.25)
    wave = 0.5 * p.curl * torch.sin(11 * g.hy + 6 * view.hair_phase)
    return 0.6 * torch.sin(19 * angle + 4 * wave + 3 * p.parting) + 0.4 * torch.sin(43 * angle + 7 * wave + 9 * p.curl)


def _shade(colour: Tensor, light: Tensor, g: Named, p: Named, view: Named) -> Tensor:
    gloss = stroke((g.hx**2 + (g.hy + 0.1) ** 2).sqrt() - 0.84, 0.10) * (0.5 - 0.4 * g.hy).clamp(0, 1)
    tone = 0.60 + 0.40 * light + 0.13 * strands(g, p, view) * (1 - 0.3 * p.curl)
    return (colour * tone[:, None] + 0.16 * (gloss * (0.6 + 0.4 * strands(g, p, view)))[:, None]).clamp(0, 1)


def _volume(g: Named, m: Named, p: Named, view: Named) -> Tensor:
    """Returns the thickness of the hair over the head [N, H, W]."""
    top, side = between(0.03, 0.20, p.hair_volume), between(0.015, 0.12, p.hair_volume)
    volume = torch.lerp(side, top, step(-0.35 - g.hy, 0.45)) * (1 - 0.55 * m.baby_hair) * (1 - 0.30 * m.late)
    angle = torch.atan2(g.hx, -g.hy)
    curl = ((p.curl - 0.5) * 2).clamp_min(0)
    return volume + curl * (0.05 + 0.028 * torch.sin(17 * angle + 6 * view.hair_phase)) * (1 - m.baby_hair)


def hair_behind(picture: Tensor, colour: Tensor, light: Tensor, g: Named, m: Named, p: Named, view: Named) -> Tensor:
    """Adds long hair that falls behind the neck."""
    end = _length(m, p) + 0.03 * torch.sin(13 * g.hx + 6 * view.hair_phase)
    curl = ((p.curl - 0.5) * 2).clamp_min(0)
    wave = 0.03 * torch.sin(7 * g.hy + 5 * view.hair_wind) * (0.4 + curl)
    width = (
        m.head_width * 0.98 + between(0.02, 0.16, p.hair_volume) + 0.08 * curl + wave - 0.06 * (g.hy - 0.2).clamp_min(0)
    )
    falls = step(width - g.hx.abs(), 0.02) * step(end - g.hy, 0.06) * step(g.hy + 0.25, 0.1) * step(end - 0.05, 0.1)
    return over(picture, 0.72 * _shade(colour, light, g, p, view), falls)


def hair_in_front(
    picture: Tensor, colour: Tensor, light: Tensor, edge: Tensor, g: Named, m: Named, p: Named, view: Named
) -> Tensor:
    """Adds hair down to the hairline, which recedes and thins with age, and strands beside the face if it is long."""
    end = _length(m, p)
    outside = step(_volume(g, m, p, view) - edge, 1.2 * g.pixel)
    part = 0.5 * (p.parting - 0.5)
    across = (g.fx / (m.head_width * 0.97)).abs().clamp_max(1.2)
    fringe = ((p.fringe - 0.45) / 0.55).clamp(0, 1) * (1 - m.recession) * (1 - 0.8 * m.thinning) * (1 - m.baby_hair)
    swept = (g.fx - part) * (1 - 2 * (p.parting > 0.5))
    low = fringe * (0.26 + 0.10 * swept + 0.020 * torch.sin(24 * g.fx + 9 * p.curl) * (1 + p.curl))
    temples = 0.30 * m.recession * stroke(across - 0.62, 0.30)
    line = m.hairline - 0.10 * m.recession - temples + low - 0.06 * m.baby_hair
    line = line + 0.05 * stroke(g.fx - part, 0.10) * (p.fringe < 0.45) * -1
    line = line + (0.62 + 0.05 * p.forehead) * across ** between(3.0, 6.0, p.hair_red)
    soft = between(0.025, 0.05, p.curl) + 0.06 * m.thinning + 0.05 * m.baby_hair
    cap = outside * step(line - g.fy, soft) * step(0.16 - g.hy, 0.10)
    crown = step(-0.30 - g.hy, 0.22) * step(0.80 - across, 0.20)
    cap = cap * (1 - 0.93 * m.thinning * crown) * (1 - 0.45 * m.baby_hair)
    locks = step(end - g.hy, 0.06) * step(g.hy + 0.35, 0.15) * step(end - 0.25, 0.12) * _sides(g, m, p)
    mask = torch.maximum(cap, locks)
    shadow = step(line - g.fy + 0.055, 0.06) * step(-edge, 0.03) * (1 - m.thinning) * (1 - m.baby_hair)
    picture = over(picture, picture * 0.74, 0.55 * shadow * step(g.fy + 1.0, 0.05) * step(0.1 - g.hy, 0.1))
    return over(picture, _shade(colour, light, g, p, view), mask)


def _sides(g: Named, m: Named, p: Named) -> Tensor:
    """Returns a mask of the strips beside the cheeks that long hair covers."""
    inner = (
        m.head_width * between(0.93, 0.83, p.hair_volume)
        - 0.10 * step(-0.1 - g.hy, 0.3)
        + 0.10 * (g.hy - 0.3).clamp_min(0)
    )
    outer = m.head_width + between(0.03, 0.14, p.hair_volume) - 0.04 * (g.hy - 0.3).clamp_min(0)
    return step(g.hx.abs() - inner, 0.03) * step(outer - g.hx.abs(), 0.02)

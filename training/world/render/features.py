"""Eyes, brows, nose, mouth, skin marks, beard and glasses, each blended over the skin."""

import torch
from torch import Tensor

from .fields import between, bump, ellipse, over, palette, rgb, segment, step, stroke
from .traits import Named

IRISES = ((0.24, 0.13, 0.07), (0.42, 0.26, 0.11), (0.44, 0.46, 0.22), (0.28, 0.50, 0.42), (0.30, 0.48, 0.70))


def skin_marks(colour: Tensor, g: Named, m: Named, p: Named) -> Tensor:
    """Adds blush, freckles, age spots and moles to the skin's colour [N, 3, H, W]."""
    ax, x, y = g.ax, g.fx, g.fy
    red = rgb(0.80, 0.26, 0.22)
    cheeks = bump(ax - 0.42, y - m.eye_y - 0.32, 0.20, 0.15) + 0.7 * bump(x, y - m.nose_y + 0.02, 0.12, 0.09)
    colour = over(colour, red, (0.22 * m.rosy * cheeks).clamp(0, 1))
    brown = colour * rgb(0.70, 0.55, 0.44)
    sx, sy = x * 34 + 40 * p.freckle_place_x, y * 34 + 40 * p.freckle_place_y
    dots = torch.sin(sx + 0.9 * torch.sin(sy * 0.37)) * torch.sin(sy + 0.9 * torch.sin(sx * 0.43))
    amount = ((p.freckles - 0.6) / 0.4).clamp(0, 1)
    place = bump(x, y - m.eye_y - 0.22, 0.52, 0.19)
    colour = over(colour, brown, (0.95 * amount * place * step(dots - 0.55, 0.25)).clamp(0, 1))
    sx, sy = x * 13 + 30 * p.mole_x, y * 13 + 30 * p.freckle_place_y
    spots = torch.sin(sx + 2.1 * torch.sin(sy * 0.55)) * torch.sin(sy + 1.8 * torch.sin(sx * 0.5))
    sides = stroke(ax - 0.55, 0.20) + 0.7 * stroke(y - m.hairline - 0.15, 0.16)
    colour = over(colour, brown, (0.45 * m.spots * sides * step(spots - 0.62, 0.22)).clamp(0, 1))
    dark = colour * rgb(0.42, 0.30, 0.26)
    for place_x, place_y, size in ((p.mole_x, p.mole_y, p.mole_size), (p.mole2_x, p.mole2_y, p.mole2_size)):
        side = place_x * 2 - 1
        centre = side.sign() * between(0.24, 0.54, side.abs())  # beside the nose and mouth, not on them
        away = ellipse(x - centre, y - between(0.28, 0.72, place_y), 0.036, 0.036)
        colour = over(colour, dark, 0.9 * step(-away, 1.2 * g.pixel) * step(size - 0.55, 0.08))
    return colour


def eyes(picture: Tensor, light: Tensor, g: Named, m: Named, p: Named, view: Named) -> Tensor:
    """Adds the whites, irises, lids and lashes."""
    uneven = 0.05 * (p.uneven_eyes - 0.5)
    x, y = g.ax - m.eye_x, g.fy - m.eye_y - uneven * g.fx.sign()
    y = y + m.eye_tilt * x
    along = x / m.eye_width
    lens = (1 - along**2).clamp_min(0)
    openness = between(0.72, 1.10, view.lids) * (1 - 0.22 * between(-0.3, 1.0, view.smile).clamp_min(0))
    up = m.eye_height * openness * lens * (1 - 0.30 * m.lid_droop * (along + 0.4).clamp(0, 1))
    down = 0.68 * m.eye_height * lens
    hole = step(y + up, 0.7 * g.pixel) * step(down - y, 0.7 * g.pixel) * step(1 - along.abs(), 0.08)
    white = rgb(0.95, 0.93, 0.91) * (0.30 + 0.66 * light)[:, None].clamp(0, 1)
    white = white * (1 - 0.32 * stroke(y + up, 0.05))[:, None] * (1 - 0.05 * m.late)[:, None]
    picture = over(picture, white, hole)

    gaze = 0.030 * between(-1, 1, view.gaze) * g.fx.sign() + 0.4 * g.yaw * 0.1 * g.fx.sign()
    ix, iy = x - gaze + 0.008, y + 0.012
    rim = ellipse(ix, iy, m.iris, m.iris)
    hue = (p.iris_hue * (1.2 - p.skin_tone)).clamp(0, 1)
    iris = palette(IRISES, hue) * between(0.75, 1.25, p.iris_light)[:, None]
    iris = iris * (1 - 0.55 * stroke(rim, 0.022) + 0.30 * stroke(rim + 0.045, 0.02) * step(iy, 0.05))[:, None]
    picture = over(picture, iris.clamp(0, 1), hole * step(-rim, 0.8 * g.pixel))
    pupil = step(-ellipse(ix, iy, 0.040, 0.040), 0.8 * g.pixel)
    picture = over(picture, rgb(0.05, 0.04, 0.05), hole * pupil)
    glint_x = between(0.035, -0.035, view.light_x) * g.fx.sign()
    glint = step(-ellipse(ix + glint_x, iy + 0.034, 0.021, 0.021), 0.8 * g.pixel)
    picture = over(picture, rgb(1, 1, 1), 0.9 * glint * step(y + up - 0.005, 0.02))

    lash = rgb(0.13, 0.08, 0.07)
    span = step(1.10 - along.abs(), 0.10)
    thick = 0.018 + 0.011 * (1 - m.man) * (1 - 0.4 * m.late) * step(along + 0.3, 0.5)
    upper = stroke(y + up + 0.004, thick) * span
    picture = over(picture, lash, (0.92 - 0.25 * m.late) * upper)
    picture = over(picture, picture * 0.55, 0.65 * stroke(y - down, 0.014) * span)
    fold = y + up + between(0.045, 0.075, p.crease) * (1 - 0.35 * m.lid_droop)
    return over(picture, picture * 0.66, m.crease * stroke(fold, 0.016) * step(1.05 - along.abs(), 0.2))


def brows(picture: Tensor, hair: Tensor, light: Tensor, g: Named, m: Named, p: Named, view: Named) -> Tensor:
    """Adds eyebrows in the colour ``hair`` [N, 3, 1, 1]."""
    raised = 0.045 * between(-0.6, 1.0, view.brow_raise)
    u = (g.ax - m.eye_x) / m.brow_length
    y = g.fy - m.brow_y + raised + m.brow_arch * (1 - (u - 0.25) ** 2) - m.brow_tilt * (g.ax - m.eye_x)
    thickness = m.brow_thickness * (1.1 - 0.45 * u.clamp(-1, 1)) * (1 - u**4).clamp_min(0.02)
    mask = step(thickness - y.abs(), 0.020) * step(1 - u.abs(), 0.16)
    hairs = 0.91 + 0.09 * torch.sin(g.ax * 90 - g.fy * 70)
    return over(picture, hair * (0.35 + 0.65 * light)[:, None], mask * hairs * (0.88 - 0.3 * m.child))


def nose(picture: Tensor, g: Named, m: Named, p: Named) -> Tensor:
    """Adds the nostrils and the shadow below; the relief shapes the nose."""
    x = g.fx - 0.05 * (p.crooked_nose - 0.5)
    y = g.fy - m.nose_y
    shade = picture * rgb(0.62, 0.45, 0.42)
    picture = over(picture, shade, 0.55 * bump(x, y - 0.055, m.nose_width * 1.0, 0.030))
    picture = over(picture, shade, 0.45 * stroke(ellipse(x.abs() - 0.72 * m.nose_width, y, 0.052, 0.055), 0.02)
                   * step(x.abs() - 0.80 * m.nose_width, 0.03) * step(y + 0.05, 0.03))  # fmt: skip
    nostril = ellipse(x.abs() - 0.46 * m.nose_width, y - 0.034 - 0.12 * (x.abs() - 0.46 * m.nose_width), 0.040, 0.017)
    return over(picture, shade * 0.55, 0.75 * step(-nostril, 1.1 * g.pixel))


def mouth(picture: Tensor, skin: Tensor, light: Tensor, g: Named, m: Named, p: Named, view: Named) -> Tensor:
    """Adds the lips, the teeth between them, and the corners of the mouth."""
    smile = between(-0.05, 1.0, view.smile)
    width = m.mouth_width * (1 + 0.16 * smile)
    x = g.fx
    u = x / width
    lens = (1 - u**2).clamp_min(0)
    uneven = 0.06 * (p.uneven_mouth - 0.5) * x
    y = g.fy - m.mouth_y - uneven + (0.055 * smile - m.mouth_sag) * (u**2).clamp_max(1.5) - 0.02 * smile
    gap = 0.045 * ((view.mouth_open - 0.5) * 2).clamp_min(0) * lens.sqrt() * (0.3 + 0.7 * smile.clamp_min(0))
    bow = 1 - between(0.1, 0.42, p.cupid) * stroke(x, 0.045)
    top, bottom = -gap - m.upper_lip * lens**0.75 * bow, gap + m.lower_lip * lens**0.7
    soft = 0.9 * g.pixel
    inside = step(1.02 - u.abs(), 0.06)
    lips = step(y - top, soft) * step(bottom - y, soft) * inside
    red = torch.lerp(skin * rgb(0.86, 0.60, 0.56),
                     rgb(0.74, 0.30, 0.30),
                     between(0.10, 0.62, p.lip_red)[:, None] * (1 - 0.55 * m.late)[:, None])  # fmt: skip
    lit = (light + 0.10 * bump(x, y - bottom * 0.55, 0.12, 0.022) - 0.10 * step(-y - gap, 0.02))[:, None]
    picture = over(picture, (red * lit).clamp(0, 1), 0.92 * lips)
    dark = rgb(0.28, 0.09, 0.08)
    opened = step(y + gap, soft) * step(gap - y, soft) * step(gap - 0.006, 0.006)
    picture = over(picture, dark, opened)
    teeth = rgb(0.93, 0.90, 0.85) * (0.45 + 0.5 * light)[:, None]
    picture = over(picture, teeth, opened * step(0.35 * gap - y, 0.012) * 0.95)
    line = stroke(y, 0.016) * step(1.08 - u.abs(), 0.10) * (1 - opened)
    picture = over(picture, picture * rgb(0.42, 0.27, 0.27), 0.80 * line)
    corner = bump(u.abs() - 1.03, y, 0.10, 0.022)
    picture = over(picture, picture * 0.55, 0.55 * corner)
    return over(picture, picture * 0.72, 0.40 * bump(x, y - bottom - 0.028, width * 0.6, 0.022))


def beard(picture: Tensor, hair: Tensor, light: Tensor, edge: Tensor, g: Named, m: Named, p: Named) -> Tensor:
    """Adds stubble or a beard, and a moustache, to grown men."""
    ax, y = g.ax, g.fy
    grown = m.beard * ((p.masculine - 0.55) / 0.2).clamp(0, 1)
    jaw = step(y - (m.mouth_y - 0.10 - 0.9 * (ax - 0.42).clamp_min(0) + 0.25 * (0.42 - ax).clamp_min(0)), 0.10)
    bare = bump(g.fx, y - m.mouth_y - 0.015, m.mouth_width * 0.95, 0.085).clamp(0, 1)
    full = jaw * (1 - 0.95 * step(bare - 0.42, 0.25))
    lip = m.mouth_y - m.upper_lip - 0.035
    above = stroke(y - lip - 0.10 * (ax / m.mouth_width) ** 2, 0.042) * step(m.mouth_width * 1.15 - ax, 0.05)
    noise = 0.80 + 0.20 * torch.sin(g.hx * 83 + 5 * torch.sin(g.hy * 61)) * torch.sin(g.hy * 77)
    shade = hair * (0.30 + 0.66 * light)[:, None]
    thick = ((p.beard - 0.45) / 0.35).clamp(0, 1)
    amount = (0.16 + 0.78 * thick) * full
    picture = over(picture, shade, (grown * amount * noise * step(-edge + 0.02, 0.03)).clamp(0, 1))
    bristle = ((p.moustache - 0.5) / 0.3).clamp(0, 1)
    return over(picture, shade, (grown * (0.15 + 0.75 * bristle) * above * noise).clamp(0, 1))


def glasses(picture: Tensor, g: Named, m: Named, p: Named) -> Tensor:
    """Adds glasses to a quarter of the people, from six years on."""
    worn = (p.glasses > 0.75) & (m.age >= 6)
    if not worn.any():
        return picture
    x, y = g.ax - m.eye_x - 0.01, g.fy - m.eye_y - 0.03
    wide, high = between(0.23, 0.26, p.glasses_shape), between(0.205, 0.155, p.glasses_shape)
    power = between(2.0, 5.0, p.glasses_shape)
    reach = ((x / wide).abs().clamp_min(1e-3) ** power + (y / high).abs().clamp_min(1e-3) ** power) ** (1 / power)
    rim = (x**2 + y**2).sqrt() * (1 - 1 / reach)
    bridge = segment(g.ax, g.fy, (0 * m.eye_x, m.eye_y - 0.01), (m.eye_x - wide + 0.03, m.eye_y + 0.01))
    arm = segment(g.ax, g.fy, (m.eye_x + wide, m.eye_y - 0.02), (m.head_width, m.eye_y - 0.06))
    frame = torch.maximum(stroke(rim, 0.026), torch.maximum(stroke(bridge, 0.024), stroke(arm, 0.022)))
    inks = ((0.10, 0.09, 0.10), (0.32, 0.18, 0.10), (0.55, 0.46, 0.30))
    picture = over(picture, rgb(1, 1, 1), 0.08 * worn * step(-rim, 0.02))
    return over(picture, palette(inks, (p.glasses - 0.75) * 4), worn * frame * 0.92)

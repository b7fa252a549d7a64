"""The head's geometry: a grid of points in face coordinates, outline, relief and shading."""

import torch
from torch import Tensor

from .fields import between, bump, ellipse, segment, step, stroke
from .traits import Named

HEAD_Y = -0.16  # y of the head's widest point, between cranium and jaw
HEAD_SIZE = 0.75  # head height relative to the image's side
HEAD_PLACE = 0.075  # offset of the head's centre below the image's, in half sides


def grid(side: int, view: Named, m: Named) -> Named:
    """Returns points [N, side, side] in coordinates of the image (x, y), head (hx, hy) and turned face (fx, fy)."""
    line = (torch.arange(side, dtype=torch.float32) + 0.5) / side * 2 - 1
    y, x = torch.meshgrid(line, line, indexing="ij")
    x, y = x[None], y[None]
    size = HEAD_SIZE * between(0.96, 1.04, view.size) * (1 - 0.04 * m.child)
    angle = between(-0.16, 0.16, view.tilt)
    dx = x - between(-0.05, 0.05, view.shift_x)
    dy = y - HEAD_PLACE - between(-0.035, 0.035, view.shift_y)
    hx = (dx * angle.cos() + dy * angle.sin()) / size
    hy = (dy * angle.cos() - dx * angle.sin()) / size
    roundness = (1 - (hx / m.head_width) ** 2 - (hy / 1.1) ** 2).clamp_min(0).sqrt()
    yaw, pitch = between(-0.20, 0.20, view.yaw), between(-0.07, 0.07, view.pitch)
    fx, fy = hx - yaw * roundness, hy - pitch * roundness
    pixel = 2 / side / size
    return Named(x=x, y=y, hx=hx, hy=hy, fx=fx, fy=fy, ax=fx.abs(), yaw=yaw, roundness=roundness, pixel=pixel)


def outline(g: Named, m: Named) -> Tensor:
    """Returns the distance to the head's edge [N, H, W], negative inside: a cranium and a tapering jaw."""
    y = g.hy - HEAD_Y
    below = (y / (m.chin - HEAD_Y)).clamp(0, 1.3)
    width = m.head_width * (1 - m.jaw_taper * below**2.2)
    width = width + m.cheeks * stroke(below - 0.52, 0.30) + m.jowls * stroke(below - 0.70, 0.20)
    height = torch.where(y > 0, m.chin - HEAD_Y, 1 + HEAD_Y)
    power = torch.where(y > 0, m.jaw_power, 2.0 + 0.1 * m.child)
    x = g.hx.abs() / width + 1e-4
    reach = (x**power + (y.abs() / height + 1e-4) ** power) ** (1 / power)
    return (g.hx**2 + y**2).sqrt() * (1 - 1 / reach.clamp_min(1e-3))


def relief(g: Named, m: Named, p: Named, edge: Tensor, view: Named) -> Tensor:
    """Returns the skin's height towards the camera [N, H, W], in face units; shading makes it visible."""
    x, ax, y = g.fx, g.ax, g.fy
    inside = (-edge).clamp_min(0)
    height = 0.62 * (1 - (1 - inside / 0.62).clamp(0, 1) ** 2).clamp_min(1e-6).sqrt()
    nose_x = x - 0.05 * (p.crooked_nose - 0.5) * step(y - m.eye_y - 0.2, 0.2)
    along = step(y - m.eye_y - 0.02, 0.16) * step(m.nose_y - y, 0.05)
    height = height + m.nose_bridge * 0.075 * along * stroke(nose_x, 0.075)
    height = height + 0.115 * m.nose_tip * bump(nose_x, y - m.nose_y + 0.035, 0.085 + 0.25 * m.nose_width, 0.085)
    height = height + 0.045 * bump(nose_x.abs() - 0.72 * m.nose_width, y - m.nose_y + 0.005, 0.058, 0.060)
    sockets = bump(ax - m.eye_x * 0.93, y - m.eye_y + 0.02, 0.21, 0.13)
    height = height - (0.050 - 0.02 * m.child + 0.035 * m.late) * sockets
    height = height + 0.045 * bump(ax - m.eye_x, y - m.eye_y, 0.13, 0.10)
    height = height + (0.030 + 0.035 * m.man) * bump(ax - m.eye_x * 0.85, y - m.brow_y, 0.22, 0.075)
    cheek_y = m.eye_y + 0.30 + 0.10 * m.late
    height = height + (0.055 + 0.055 * m.child) * bump(ax - 0.42, y - cheek_y, 0.20, 0.17)
    height = height - 0.055 * m.late * bump(ax - 0.47, y - m.mouth_y + 0.10, 0.11, 0.16)
    height = height + 0.040 * bump(x, y - m.mouth_y, 0.24, 0.14)
    height = height + 0.050 * bump(x, y - m.chin + 0.14, 0.15, 0.095)
    height = height - 0.030 * bump(x, y - m.mouth_y - 0.15, 0.16, 0.045)
    return height - wrinkles(g, m, p, view)


def wrinkles(g: Named, m: Named, p: Named, view: Named) -> Tensor:
    """Returns the depth of folds and lines in the skin [N, H, W], in face units."""
    x, ax, y = g.fx, g.ax, g.fy
    above = m.brow_y - 0.07 - y  # height above the brows
    wave = (above + 0.05 * (1 - (x / 0.45) ** 2) + 0.012 * torch.sin(9 * x + 6 * p.mole_x)) / 0.098
    forehead = torch.cos(wave * 2 * torch.pi).clamp_min(0) ** 3 * step(above, 0.03) * step(0.36 - above, 0.06)
    depth = 0.016 * m.forehead_lines * forehead * stroke(x, 0.44)

    cx, cy = ax - m.eye_x - m.eye_width * 1.08, y - m.eye_y
    radius = (cx**2 + cy**2).sqrt()
    fan = torch.cos(torch.atan2(cy, cx.clamp_min(1e-3)) * 7.0 + 0.6).clamp_min(0) ** 2
    depth = depth + 0.017 * m.crows_feet * fan * step(radius - 0.035, 0.02) * step(0.19 - radius, 0.05) * step(cx, 0.02)

    smile = between(-0.3, 1.0, view.smile).clamp_min(0)
    top = (m.nose_width + 0.045, m.nose_y - 0.02)
    end = (m.mouth_width + 0.075 + 0.02 * smile, m.mouth_y + 0.02)
    fold = segment(ax + 0.25 * (y - top[1]) * (y - end[1]), y, top, end)
    depth = depth + (0.028 * m.nasolabial + 0.010 * smile) * stroke(fold, 0.032)
    start, end = (m.mouth_width + 0.045, m.mouth_y + 0.05), (m.mouth_width + 0.075, m.mouth_y + 0.22)
    depth = depth + 0.022 * m.fine_lines * stroke(segment(ax, y, start, end), 0.030)

    ux, uy = ax - m.eye_x + 0.015, y - m.eye_y
    bag = ellipse(ux, uy, m.eye_width * 1.02, 0.125 + 0.06 * m.late) * step(uy - 0.02, 0.05)
    depth = depth + 0.024 * m.eye_bags * stroke(bag, 0.024) * step(uy - 0.03, 0.04)
    depth = depth + 0.018 * m.forehead_lines * stroke(ax - 0.055, 0.018) * stroke(y - m.brow_y + 0.005, 0.085)
    cheek = torch.cos((ax * 2.2 + 0.6 * y + 0.9 * y * y) * 34).clamp_min(0) ** 3
    depth = depth + 0.007 * m.fine_lines * cheek * bump(ax - 0.46, y - m.mouth_y + 0.02, 0.12, 0.22)
    lip = torch.cos(x * 95).clamp_min(0) ** 2 * bump(x, y - m.mouth_y + m.upper_lip + 0.06, 0.20, 0.045)
    return depth + 0.008 * m.fine_lines * lip


def shading(height: Tensor, g: Named, view: Named) -> tuple[Tensor, Tensor]:
    """Returns the light on the skin, about 0 to 1.1, and its gloss, 0 to 1, each [N, H, W]."""
    spacing = 2 * g.pixel
    padded = torch.nn.functional.pad(height[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    slope_x = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / spacing
    slope_y = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / spacing
    length = (slope_x**2 + slope_y**2 + 1).rsqrt()
    lx, ly = between(-0.8, 0.8, view.light_x), between(-0.75, -0.15, view.light_y)
    scale = (lx**2 + ly**2 + 1).rsqrt()
    facing = (-slope_x * lx - slope_y * ly + 1) * length * scale
    hard = between(0.55, 0.85, view.light_hard)
    halfway = (lx**2 * 0.25 + ly**2 * 0.25 + 1).rsqrt()
    gloss = ((-slope_x * lx / 2 - slope_y * ly / 2 + 1) * length * halfway).clamp(0, 1) ** 24
    return 0.97 * (1 - hard) + 0.97 * hard * (0.5 + 0.5 * facing).clamp_min(0) ** 1.8, gloss

"""How age changes a face: turns identity traits and years into facial measures.

Lengths are in half head heights of an adult: the crown is at y = -1, the chin at y = +1, y points down.
The directions follow the review by Albert, Ricanek & Patterson (Forensic Science International, 2007): a child has a
large cranium, low and large eyes, round cheeks and a short nose; after thirty, hair greys and recedes, lines and eye
bags appear, lips thin, lids, cheeks and jaw sag, and ears and nose keep growing. The amounts were chosen by eye.
"""

import torch
from torch import Tensor

from .fields import between
from .traits import IDENTITY_TRAITS, Named, named


def childness(age: Tensor) -> Tensor:
    """Returns 1 at birth, falling to 0 at twenty years."""
    return (1 - age / 20).clamp(0, 1) ** 1.15


def aged(age: Tensor, start: float, end: float) -> Tensor:
    """Returns 0 up to ``start`` years, 1 from ``end`` on, and a smoothstep in between."""
    t = ((age - start) / (end - start)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def measure(people: Tensor, ages: Tensor) -> Named:
    """Returns the facial measures, each [N, 1, 1], of ``people`` [N, D] at ``ages`` [N] in years."""
    p, age = named(people, IDENTITY_TRAITS), ages[:, None, None].float()
    child, old = childness(age), aged(age, 28, 88)
    grown, late = aged(age, 11, 21), aged(age, 48, 90)
    man = grown * p.masculine
    m = Named(child=child, old=old, late=late, age=age, man=man)

    m.head_width = between(0.69, 0.81, p.head_width) * (1 + 0.10 * child - 0.02 * late)
    m.jaw_taper = between(0.50, 0.24, p.jaw_width) * (1 - 0.45 * child) - 0.07 * man
    m.jaw_power = between(1.85, 2.55, p.jaw_square) + 0.35 * man - 0.25 * child
    m.chin = 1 + between(-0.06, 0.07, p.chin) + 0.03 * man - 0.15 * child
    m.cheeks = between(-0.01, 0.05, p.cheeks) + 0.085 * child - 0.045 * late
    m.jowls = 0.085 * aged(age, 42, 85) * between(0.6, 1.3, p.cheeks)
    m.neck = (between(0.36, 0.44, p.jaw_width) + 0.06 * man) * (1 - 0.26 * child)

    m.eye_x = between(0.29, 0.365, p.eye_spacing) * (1 - 0.01 * child)
    m.eye_y = between(-0.05, 0.05, p.eye_height) + 0.185 * child
    m.eye_width = between(0.142, 0.185, p.eye_size) * (1 + 0.14 * child)
    droop = aged(age, 40, 90)
    m.eye_height = between(0.068, 0.105, p.eye_open) * (1 + 0.45 * child) * (1 - 0.34 * droop)
    m.eye_tilt = between(-0.20, 0.24, p.eye_tilt) - 0.16 * droop
    m.lid_droop = droop
    m.iris = 0.088 * (1 + 0.16 * child)
    m.crease = between(0.25, 0.9, p.crease) * (1 - 0.3 * child)

    m.brow_y = m.eye_y - between(0.20, 0.29, p.brow_height) - 0.02 * child + 0.03 * man + 0.02 * droop
    m.brow_thickness = between(0.020, 0.052, p.brow_thickness) * (1 - 0.42 * child) * (1 + 0.25 * man + 0.15 * late)
    m.brow_arch = between(0.0, 0.10, p.brow_arch)
    m.brow_tilt = between(-0.07, 0.20, p.brow_tilt) + 0.10 * droop
    m.brow_length = between(0.18, 0.245, p.brow_length) * (1 - 0.08 * child)

    m.nose_y = m.eye_y + between(0.34, 0.47, p.nose_length) * (1 - 0.36 * child) * (1 + 0.07 * old) + 0.03 * late
    m.nose_width = between(0.105, 0.185, p.nose_width) * (1 - 0.16 * child) * (1 + 0.13 * old)
    m.nose_bridge = between(0.2, 1.0, p.nose_bridge) * (1 - 0.65 * child)
    m.nose_tip = between(0.6, 1.2, p.nose_tip)

    m.mouth_y = m.nose_y + (m.chin - m.nose_y) * between(0.36, 0.46, p.mouth_height)
    m.mouth_width = between(0.20, 0.30, p.mouth_width) * (1 - 0.17 * child) * (1 + 0.05 * old)
    thin = 1 - 0.62 * aged(age, 35, 88)
    m.upper_lip = between(0.030, 0.070, p.upper_lip) * thin * (1 - 0.08 * child)
    m.lower_lip = between(0.045, 0.095, p.lower_lip) * thin * (1 - 0.05 * child)
    m.mouth_sag = 0.022 * aged(age, 40, 90)

    m.ear_height = between(0.19, 0.25, p.ear_size) * (1 + 0.05 * child + 0.22 * old)
    m.ear_out = between(0.02, 0.10, p.ear_out) + 0.015 * child

    m.hairline = between(-0.74, -0.58, p.forehead) - 0.015 * child
    onset = between(32.0, 58.0, p.greying)
    m.grey = torch.sigmoid((age - onset - 9) / 5.5)
    bald = ((p.balding - 0.45) / 0.55).clamp(0, 1) * p.masculine.clamp_min(0.25)
    m.recession = bald * aged(age, 22, 62) * 0.8 + 0.10 * late
    m.thinning = (bald * 1.25).clamp(0, 1) * aged(age, 38, 74)
    m.baby_hair = (1 - age / 2.5).clamp(0, 1)

    lines = between(0.75, 1.25, p.wrinkling)
    m.forehead_lines = lines * aged(age, 30, 78)
    m.crows_feet = lines * aged(age, 33, 76)
    m.nasolabial = lines * (0.05 + aged(age, 26, 72))
    m.eye_bags = lines * aged(age, 34, 80)
    m.fine_lines = lines * aged(age, 52, 92)
    m.spots = lines * aged(age, 48, 88)
    m.pallor = 0.6 * late
    m.rosy = 0.35 + 0.65 * child
    m.beard = aged(age, 17, 25)
    return m

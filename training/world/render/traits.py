"""Identities (who is rendered) and views (how the photo was taken) as rows of numbers in [0, 1]."""

from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor

Named = SimpleNamespace  # measures by name, each [N, 1, 1], or fields over the image, each [N, H, W]

# Traits of a person at every age, uniform and independent; aging.py turns them into facial measures.
IDENTITY_TRAITS = (
    *("head_width", "jaw_width", "jaw_square", "chin", "cheeks", "forehead", "masculine"),
    *("eye_spacing", "eye_height", "eye_size", "eye_open", "eye_tilt", "iris_hue", "iris_light", "crease"),
    *("brow_height", "brow_thickness", "brow_arch", "brow_tilt", "brow_length"),
    *("nose_length", "nose_width", "nose_bridge", "nose_tip", "ear_size", "ear_out"),
    *("mouth_width", "mouth_height", "upper_lip", "lower_lip", "lip_red", "cupid"),
    *("skin_tone", "skin_warmth", "freckles", "freckle_place_x", "freckle_place_y"),
    *("mole_x", "mole_y", "mole_size", "mole2_x", "mole2_y", "mole2_size"),
    *("hair_tone", "hair_red", "hair_volume", "hair_length", "fringe", "parting", "curl"),
    *("beard", "moustache", "glasses", "glasses_shape"),
    *("greying", "balding", "wrinkling", "uneven_eyes", "uneven_mouth", "crooked_nose"),
)

# Traits that vary between photos of one person.
VIEW_TRAITS = (
    *("shift_x", "shift_y", "size", "tilt", "yaw", "pitch"),
    *("light_x", "light_y", "light_hard", "light_warm", "exposure"),
    *("smile", "mouth_open", "brow_raise", "lids", "gaze"),
    *("wall_hue", "wall_light", "wall_slope", "cloth_hue", "cloth_light", "cloth_cut"),
    *("hair_wind", "hair_phase"),
)

# Traits that change a person's appearance but not the identity; see ``disguised``.
DISGUISES = (
    "hair_volume",
    "hair_length",
    "fringe",
    "parting",
    "curl",
    "beard",
    "moustache",
    "glasses",
    "glasses_shape",
)


def identities(seeds: Iterable[int]) -> Tensor:
    """Samples people: [N, len(IDENTITY_TRAITS)] in [0, 1]; each row depends only on its own seed."""
    return _uniform(seeds, 1, len(IDENTITY_TRAITS))


def views(seeds: Iterable[int]) -> Tensor:
    """Samples views: [N, len(VIEW_TRAITS)] in [0, 1]; each row depends only on its own seed."""
    return _uniform(seeds, 2, len(VIEW_TRAITS))


def disguised(people: Tensor, seeds: Iterable[int]) -> Tensor:
    """Returns the same people [N, D] with other hair, beards and glasses, so that matchers cannot rely on those."""
    places = [IDENTITY_TRAITS.index(name) for name in DISGUISES]
    changed = people.clone()
    changed[:, places] = _uniform(seeds, 3, len(places))
    return changed


def named(rows: Tensor, names: tuple[str, ...]) -> Named:
    """Returns the columns of ``rows`` [N, D] by name, each [N, 1, 1] to broadcast over an image."""
    return Named(**{name: rows[:, index, None, None] for index, name in enumerate(names)})


def _uniform(seeds: Iterable[int], stream: int, count: int) -> Tensor:
    rows = [np.random.default_rng((stream, int(seed))).random(count, dtype=np.float32) for seed in seeds]
    return torch.from_numpy(np.stack(rows))

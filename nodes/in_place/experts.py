"""Wan 2.2's two experts: networks of one architecture, each for a part of the noise levels."""

import re
from typing import Any

from ...training.errors import UnsupportedModel
from .identity import file_name

WIDTH = 5120  # of Wan's 14B networks
TYPES = ("t2v", "vace", "camera_2.2")  # ComfyUI's types for networks that Wan 2.2 splits. Others have one expert.
# The lowest sigma of the high-noise expert (wan_t2v_A14B.py and wan_i2v_A14B.py of Wan 2.2). Image-to-video networks
# have more input channels than the 16 of the latents.
TEXT_BOUNDARY, IMAGE_BOUNDARY = 0.875, 0.9


def sigma_range(patcher: Any) -> tuple[float, float] | None:
    """The sigmas that a MODEL is for: those of one of Wan 2.2's two experts, or None for all other models.

    Wan 2.1 and both experts have the same layers, so only the file name tells them apart. Raises UserError if it does
    not.
    """
    settings = patcher.model.model_config.unet_config
    wan = settings.get("image_model") == "wan2.1" and settings.get("model_type") in TYPES
    if not wan or settings.get("dim") != WIDTH:
        return None
    name = file_name(patcher).lower()
    if re.search(r"wan[ _.-]?2[ _.-]?1(?!\d)", name):
        return None
    experts = set(re.findall(r"(?<![a-z])(high|low)(?=[ _-]?noise|[^a-z])", name))
    boundary = IMAGE_BOUNDARY if settings.get("in_dim", 16) > 16 else TEXT_BOUNDARY
    if experts == {"high"}:
        return boundary, 1.0
    if experts == {"low"}:
        return 0.0, boundary
    raise UnsupportedModel(
        f"{file_name(patcher) or 'This MODEL'} is Wan 2.1 or one of the two experts of Wan 2.2 14B, which train at "
        "different noise levels. Put wan2.1, high_noise or low_noise into the file's name, and open it with Load "
        "Diffusion Model. If it has such a name already, update ComfyUI: older versions do not pass it on."
    )

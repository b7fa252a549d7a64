"""What a MODEL is, by the name that the command line, a subject's header and ComfyUI agree on."""

from dataclasses import dataclass

import comfy.supported_models

from ...training.models.families import SD1, SD2, SDXL


@dataclass(frozen=True)
class ComfyFamily:
    """A family by ComfyUI's name for it, or by ours where the command line knows it too."""

    name: str
    modelspec: str
    resolution: int = 1024  # px


def family_of(patcher) -> ComfyFamily:
    """The family of a MODEL."""
    config = patcher.model.model_config
    theirs = comfy.supported_models
    for kind, family in ((theirs.SDXL, SDXL), (theirs.SD20, SD2), (theirs.SD15, SD1)):
        if isinstance(config, kind):
            return ComfyFamily(family.name, family.modelspec, family.resolution)
    name = type(config).__name__
    return ComfyFamily(name, name.lower())

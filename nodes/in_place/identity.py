"""What a loaded model is known by: its weights, with the patches that are on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import comfy.supported_models
import torch
from comfy.quant_ops import QuantizedTensor
from torch import Tensor

from ...training.errors import UserError
from ...training.models.fingerprint import fingerprint
from ...training.models.stable_diffusion.families import SD1, SD2, SDXL

ROOT = "diffusion_model."


def network_fingerprint(model: Any) -> str:
    """Of the network of a MODEL."""
    return fingerprint(dict(sampled(model, ROOT)))


def sampled(patcher, prefix: str | None = None) -> Iterator[tuple[str, Tensor]]:
    """A ModelPatcher's weights before patches, and those of the patches, for a fingerprint.

    Its own get_key_patches knows no quantised layers, whose scales are numbers of the state alone.
    """
    for key, weight in patcher.model_state_dict(prefix).items():
        name = key.removeprefix(prefix or "")
        yield name, patcher.backup[key].weight if key in patcher.backup else weight
        for number, tensor in enumerate(_tensors(patcher.patches.get(key, ()))):
            yield f"{name} patch {number}", _plain(tensor)


def _plain(weight: Tensor) -> Tensor:
    return weight._qdata if isinstance(weight, QuantizedTensor) else weight


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor and number in nested patches."""
    if torch.is_tensor(value):
        yield value
    elif isinstance(value, (int, float)):
        yield torch.tensor(float(value))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _tensors(part)
    elif hasattr(value, "weights"):  # ComfyUI's weight adapters
        yield from _tensors(value.weights)


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


def check_vae(vae: Any, channels: int, family: str) -> None:
    """Raises UserError where the VAE's latents are none of a model of this family, whose have so many channels."""
    if vae.latent_channels != channels:
        raise UserError(f"The VAE has {vae.latent_channels} latent channels; {family} has {channels}. Wire its own.")

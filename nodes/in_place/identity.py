"""Identifies a loaded model: its family, and a fingerprint of its weights and patches."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import comfy.supported_models
import comfy.utils
import torch
from torch import Tensor

from ...training.errors import ModelMismatch
from ...training.models.fingerprint import fingerprint
from ...training.models.stable_diffusion.families import SD1, SD2, SDXL

ROOT = "diffusion_model."


def network_fingerprint(model: Any) -> str:
    """The fingerprint of a MODEL's network, with its patches."""
    return fingerprint(dict(sampled(model, ROOT)))


def sampled(patcher, prefix: str | None = None) -> Iterator[tuple[str, Tensor]]:
    """Yields a ModelPatcher's weights before patching, and the tensors of its patches, for a fingerprint.

    ModelPatcher.get_key_patches does not work here: it misses quantised layers' scales, which only the state has.
    For packed weights (GGUF) the state has tensors without data; these are read as they are stored in the layer.
    """
    for key, weight in patcher.model_state_dict(prefix).items():
        name = key.removeprefix(prefix or "")
        if key in patcher.backup:
            yield name, patcher.backup[key].weight
        elif not weight.is_meta:
            yield name, weight
        elif (stored := _stored(patcher.model, key)) is not None:
            yield name, stored
        for number, tensor in enumerate(_tensors(patcher.patches.get(key, ()))):
            yield f"{name} patch {number}", _plain(tensor)


def has_packed_weights(patcher: Any) -> bool:
    """Whether an extension for GGUF files loaded the model: its state then has tensors without data."""
    return any(weight.is_meta for weight in patcher.model_state_dict().values())


def _stored(model: Any, key: str) -> Tensor | None:
    """The bytes of a packed weight. None if no layer has it: the entry stands for memory needed to unpack others."""
    try:
        return comfy.utils.get_attr(model, key).as_subclass(Tensor)
    except AttributeError:
        return None


def _plain(weight: Tensor) -> Tensor:
    from comfy.quant_ops import QuantizedTensor  # older ComfyUI lacks it, and this file must still import there

    return weight._qdata if isinstance(weight, QuantizedTensor) else weight


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yields every tensor and number in nested patches, as tensors."""
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
    """A model family. Its name is ours if the command line supports it too, otherwise ComfyUI's."""

    name: str
    resolution: int = 1024  # px


def family_of(patcher) -> ComfyFamily:
    """The family of a MODEL."""
    config = patcher.model.model_config
    configs = comfy.supported_models
    for config_class, family in ((configs.SDXL, SDXL), (configs.SD20, SD2), (configs.SD15, SD1)):
        if isinstance(config, config_class):
            return ComfyFamily(family.name, family.resolution)
    return ComfyFamily(type(config).__name__)


def file_name(patcher: Any) -> str:
    """The name of the file that a core loader opened, or "" if ComfyUI does not record it."""
    _, arguments, *_ = getattr(patcher, "cached_patcher_init", None) or (None, ())
    return Path(arguments[0]).name if arguments and isinstance(arguments[0], (str, Path)) else ""


def guidance_distilled(patcher: Any) -> bool:
    """Whether the network takes a guidance scale that it was distilled with, as Flux dev does."""
    return bool(getattr(getattr(patcher.model.diffusion_model, "params", None), "guidance_embed", False))


def check_vae(vae: Any, channels: int, family: str) -> None:
    """Raises UserError unless the VAE has the latent ``channels`` that this family expects."""
    if vae.latent_channels != channels:
        raise ModelMismatch(
            f"The VAE has {vae.latent_channels} latent channels, but {family} needs {channels}. Connect the VAE that "
            "belongs to this MODEL."
        )

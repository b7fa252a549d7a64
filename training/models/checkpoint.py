"""Stable Diffusion models out of single files and diffusers folders, without any network, and back to one file."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ..errors import UserError
from ..files import digest, read_state_dict
from . import keys
from .denoiser import DENOISERS, Denoiser
from .families import (
    SD1,
    SD2,
    SDXL,
    Family,
    Tower,
    looks_like_v_prediction,
    recognise,
    text_config,
    unet_config,
    vae_config,
)
from .keys import StateDict
from .text import TextEncoder, TextTower, new_tower
from .vae import LatentCodec

Network = TypeVar("Network", bound=nn.Module)


@dataclass
class Model:
    """A diffusion model in diffusers' and transformers' modules: on the CPU, float32 and frozen when it is opened."""

    family: Family
    denoiser: Denoiser  # holds the UNet and the text encoder
    codec: LatentCodec
    name: str
    sha256: str  # of the UNet before training, as float16: the same from any file format and from memory
    unmapped: StateDict = field(default_factory=dict)  # tensors of the checkpoint that no module holds, kept for saving

    @property
    def resolution(self) -> int:
        """Side of the pictures that the model was trained on, px. SD 2.x has two: 512 for epsilon, 768 for v."""
        if self.family is SD2 and self.denoiser.prediction_type == "epsilon":
            return 512
        return self.family.resolution

    def to(self, device: torch.device, dtype: torch.dtype) -> "Model":
        """This model on ``device``, its networks in ``dtype``; the noise schedule keeps its precision."""
        self.denoiser.to(device)
        for module in (self.denoiser.unet, self.denoiser.text, self.codec):
            module.to(device, dtype)
        return self


def open_model(path: Path, prediction_type: str | None = None) -> Model:
    """The model in a single file or a diffusers folder.

    ``prediction_type`` ("epsilon", "v_prediction") overrules what the weights seem to be.
    Raises UserError for a missing, damaged or unknown model.
    """
    if path.is_dir():
        return _open_folder(path, prediction_type)
    return model_from_state_dict(read_state_dict(path), path.name, prediction_type)


def model_from_state_dict(checkpoint: StateDict, name: str, prediction_type: str | None = None) -> Model:
    """The model in a single file's state dict; see open_model."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    family = recognise(checkpoint, name)
    unet_state = {key: value for key, value in checkpoint.items() if key.startswith(keys.UNET_PREFIX)}
    unet = _empty(UNet2DConditionModel, **unet_config(checkpoint, family))
    _fill(unet, {ours: unet_state.pop(theirs, None) for ours, theirs in unet_keys(unet).items()}, "UNet", name)
    if unet_state:
        raise UserError(f"The UNet in {name} has layers that {family.name} has not, such as {next(iter(unet_state))}.")

    vae = (
        _empty(AutoencoderTiny)
        if _has_tiny_vae(checkpoint)
        else _empty(AutoencoderKL, **vae_config(checkpoint, family))
    )
    weights = {ours: checkpoint.get(theirs) for ours, theirs in _vae_keys(vae).items()}
    _fill(vae, {ours: _to_shape_of(vae, ours, value) for ours, value in weights.items()}, "VAE", name)

    text = TextEncoder(family, [_tower_from(checkpoint, tower, name) for tower in family.towers])
    guess = "v_prediction" if looks_like_v_prediction(checkpoint, family) else "epsilon"
    model = Model(family, DENOISERS[prediction_type or guess](unet, text), LatentCodec(vae), name, _unet_sha256(unet))
    mapped = model_to_state_dict(model)
    model.unmapped = {
        key: value for key, value in checkpoint.items() if key not in mapped and not key.startswith("model_ema.")
    }
    return model


def model_to_state_dict(model: Model) -> StateDict:
    """The model's tensors in the single-file layout, without copying where the layout lets it."""
    state = model.unmapped | unet_to_state_dict(model.denoiser.unet)
    state |= vae_to_state_dict(model.codec.vae)
    for tower in model.denoiser.text.towers:
        state |= tower_to_state_dict(tower)
    return state


def unet_keys(unet: Any) -> dict[str, str]:
    """The UNet's own keys, each with its name in a checkpoint."""
    attention = {index for index, block in enumerate(unet.up_blocks) if hasattr(block, "attentions")}
    layers = len(unet.down_blocks[0].resnets)
    return {key: keys.unet_key(key, layers, attention) for key in unet.state_dict()}


def unet_to_state_dict(unet: nn.Module) -> StateDict:
    """The UNet's tensors in the single-file keys."""
    weights = unet.state_dict()
    return {theirs: weights[ours] for ours, theirs in unet_keys(unet).items()}


def vae_to_state_dict(vae: nn.Module) -> StateDict:
    """The VAE's tensors in the single-file layout, where its attention's linear layers are 1x1 convolutions."""
    names, state = _vae_keys(vae), {}
    for key, value in vae.state_dict().items():
        linear = "attentions" in key and value.ndim == 2
        state[names[key]] = value[:, :, None, None] if linear else value
    return state


def tower_to_state_dict(tower: TextTower) -> StateDict:
    """A text tower's tensors in the single-file keys."""
    write = keys.open_clip_to_checkpoint if tower.spec.open_clip else keys.clip_to_checkpoint
    return write(tower.state_dict(), tower.spec.prefix)


def open_tiny_vae(path: Path) -> LatentCodec:
    """An AutoencoderTiny: diffusers' folder, its one .safetensors, or TAESD's published decoder, alone or in a folder
    with its encoder.

    Raises UserError where it is none of these.
    """
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    halves = {side: path / f"taesd_{side}.safetensors" for side in ("encoder", "decoder")}
    if path.is_dir() and not halves["decoder"].is_file():
        path = path / "diffusion_pytorch_model.safetensors"
    weights = read_state_dict(halves["decoder"] if path.is_dir() else path)
    tiny = _empty(AutoencoderTiny)
    if not any(key.startswith("decoder.") for key in weights):
        published = {f"{keys.VAE_PREFIX}taesd_decoder.{key}": value for key, value in weights.items()}
        if path.is_dir() and halves["encoder"].is_file():
            encoder = read_state_dict(halves["encoder"])
            published |= {f"{keys.VAE_PREFIX}taesd_encoder.{key}": value for key, value in encoder.items()}
        else:
            tiny.register_module("encoder", nn.Identity())  # the decoder will do for training
        weights = {key: published.get(keys.tiny_vae_key(key)) for key in tiny.state_dict()}
    return LatentCodec(_fill(tiny, weights, "tiny VAE", str(path)))


def _unet_sha256(unet: nn.Module) -> str:
    return digest({key: value.half() for key, value in unet_to_state_dict(unet).items()})


def _empty(module_class: Callable[..., Network], *args: Any, **config: Any) -> Network:
    """A module without memory behind its parameters, until _fill gives it some."""
    from accelerate import init_empty_weights

    with init_empty_weights():
        return module_class(*args, **config)


def _fill(module: Network, state: Mapping[str, torch.Tensor | None], what: str, source: str) -> Network:
    """The module holding ``state`` as float32, frozen. Raises UserError where a tensor is missing or misshapen."""
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    for key, shape in shapes.items():
        found = state.get(key)
        if found is None or tuple(found.shape) != shape:
            seen = "is missing" if found is None else f"has shape {tuple(found.shape)}, not {shape}"
            raise UserError(f"The {what} in {source} has an unknown layout: {key} {seen}.")
    if extra := state.keys() - shapes.keys():
        raise UserError(f"The {what} in {source} has an unknown layout: it also holds {sorted(extra)[0]}.")
    module.load_state_dict({key: value.float() for key, value in state.items() if value is not None}, assign=True)
    return module.requires_grad_(False).eval()


def _has_tiny_vae(checkpoint: StateDict) -> bool:
    return any(key.startswith(keys.VAE_PREFIX + "taesd_") for key in checkpoint)


def _vae_keys(vae: Any) -> dict[str, str]:
    if type(vae).__name__ == "AutoencoderTiny":
        return {key: keys.tiny_vae_key(key) for key in vae.state_dict()}
    levels = len(vae.config.block_out_channels)
    return {key: keys.vae_key(key, levels) for key in vae.state_dict()}


def _to_shape_of(vae: nn.Module, key: str, value: torch.Tensor | None) -> torch.Tensor | None:
    """Checkpoints write the VAE's attention as 1x1 convolutions, diffusers as linear layers."""
    if value is None or value.ndim != 4 or vae.get_parameter(key).ndim != 2:
        return value
    return value[:, :, 0, 0]


def _tower_from(checkpoint: StateDict, spec: Tower, source: str) -> TextTower:
    from transformers import CLIPTextConfig

    read = keys.open_clip_from_checkpoint if spec.open_clip else keys.clip_from_checkpoint
    state = read(checkpoint, spec.prefix)
    config = text_config(state, spec)
    for _ in range(spec.unused_layers):
        config["num_hidden_layers"] -= 1
        last = f"text_model.encoder.layers.{config['num_hidden_layers']}."
        state = {key: value for key, value in state.items() if not key.startswith(last)}
    if not spec.pooled:
        state.pop("text_projection.weight", None)
    tower = _empty(new_tower, CLIPTextConfig(**config), spec)
    return _fill(tower, state, "text encoder", source)


def _open_folder(path: Path, prediction_type: str | None) -> Model:
    """A folder as diffusers' ``save_pretrained`` writes it."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    try:
        unet: Any = UNet2DConditionModel.from_pretrained(path / "unet", local_files_only=True)
        vae_settings = json.loads((path / "vae" / "config.json").read_text())
        vae_class = AutoencoderTiny if vae_settings["_class_name"] == "AutoencoderTiny" else AutoencoderKL
        vae = vae_class.from_pretrained(path / "vae", local_files_only=True)
        first = CLIPTextModel.from_pretrained(path / "text_encoder", local_files_only=True)
        two = (path / "text_encoder_2").is_dir()
        family = SDXL if two else SD1 if first.config.hidden_act == "quick_gelu" else SD2
        towers = [TextTower(family.towers[0], first, None)]
        if two:
            second = CLIPTextModelWithProjection.from_pretrained(path / "text_encoder_2", local_files_only=True)
            towers.append(TextTower(family.towers[1], second, second.text_projection))
        settings = json.loads((path / "scheduler" / "scheduler_config.json").read_text())
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} cannot be opened as a diffusers folder ({str(error).splitlines()[0][:150]}). It needs unet, vae, "
            "text_encoder and scheduler inside, as save_pretrained writes them."
        ) from error
    if unet.config.in_channels != 4:
        raise UserError(f"{path} takes {unet.config.in_channels} latent channels; a text-to-image model takes 4.")
    text = TextEncoder(family, towers)
    guess = settings.get("prediction_type", "epsilon")
    denoiser, codec = DENOISERS[prediction_type or guess](unet, text), LatentCodec(vae)
    for module in (denoiser, codec):
        module.float().requires_grad_(False).eval()
    return Model(family, denoiser, codec, path.name, _unet_sha256(unet))

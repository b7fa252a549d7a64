"""Stable Diffusion models out of single files and diffusers folders, without any network, and back to one file."""

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
    Part,
    Tower,
    looks_like_v_prediction,
    recognise,
    text_config,
    unet_config,
    vae_config,
)
from .folder import settings_in, weights_in
from .keys import StateDict
from .text import TextEncoder, TextTower, new_tower
from .vae import LatentCodec

Network = TypeVar("Network", bound=nn.Module)

NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2)
_SCALES = (".weight_scale", ".scale_weight", ".comfy_quant", ".absmax", "scaled_fp8")  # multiply what is quantised
# What diffusers and transformers raise on settings of no network, depending on which they stumble over.
_BUILDING_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RuntimeError)


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
    if scale := next((key for key in checkpoint if key.endswith(_SCALES)), None):
        raise UserError(f"{name} is quantised: it holds {scale}. Use the same model in bf16, fp16 or fp32.")
    part = Part(checkpoint, f"UNet in {name}", keys.UNET_PREFIX)
    unet = _empty(part.name, UNet2DConditionModel, **unet_config(part, family))
    names = unet_keys(unet)
    _fill(unet, {ours: checkpoint.get(theirs) for ours, theirs in names.items()}, part.name)
    if surplus := part.keys() - {theirs.removeprefix(keys.UNET_PREFIX) for theirs in names.values()}:
        raise UserError(f"The {part.name} has layers that {family.name} has not, such as {min(surplus)}.")

    part = Part(checkpoint, f"VAE in {name}", keys.VAE_PREFIX)
    if any(key.startswith("taesd_") for key in part):
        vae = _empty(part.name, AutoencoderTiny)
    else:
        vae = _empty(part.name, AutoencoderKL, **vae_config(part, family))
    weights = {ours: checkpoint.get(theirs) for ours, theirs in _vae_keys(vae).items()}
    _fill(vae, {ours: _to_shape_of(vae, ours, value) for ours, value in weights.items()}, part.name)

    text = TextEncoder(family, [_tower_from(checkpoint, tower, name) for tower in family.towers])
    guess = "v_prediction" if looks_like_v_prediction(checkpoint, family) else "epsilon"
    denoiser = _denoiser(prediction_type or guess, unet, text, name)
    model = Model(family, denoiser, LatentCodec(vae), name, _unet_sha256(unet))
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
    """An AutoencoderTiny: diffusers' folder, its one .safetensors, or TAESD's published decoder file.

    Raises UserError where it is none of these.
    """
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    weights = weights_in(path) if path.is_dir() else read_state_dict(path)
    tiny = _empty("tiny VAE", AutoencoderTiny)
    if not any(key.startswith("decoder.") for key in weights):
        tiny.register_module("encoder", nn.Identity())  # published files hold one half each; the decoder will do
        published = {f"{keys.VAE_PREFIX}taesd_decoder.{key}": value for key, value in weights.items()}
        weights = {key: published.get(keys.tiny_vae_key(key)) for key in tiny.state_dict()}
    return LatentCodec(_fill(tiny, weights, f"tiny VAE in {path}"))


def _unet_sha256(unet: nn.Module) -> str:
    return digest({key: value.half() for key, value in unet_to_state_dict(unet).items()})


def _denoiser(prediction_type: str, unet: nn.Module, text: TextEncoder, source: str) -> Denoiser:
    if prediction_type not in DENOISERS:
        raise UserError(f"{source} predicts {prediction_type}; known are {' and '.join(DENOISERS)}.")
    return DENOISERS[prediction_type](unet, text)


def _empty(what: str, make: Callable[..., Network], *args: Any, **config: Any) -> Network:
    """A module without memory behind its parameters, until _fill gives it some."""
    from accelerate import init_empty_weights

    try:
        with init_empty_weights():
            return make(*args, **config)
    except _BUILDING_ERRORS as error:
        raise UserError(f"The {what} is of a shape that no known model has; it may be damaged.") from error


def _fill(module: Network, state: Mapping[str, torch.Tensor | None], what: str) -> Network:
    """The module holding ``state`` as float32, frozen.

    Raises UserError where a tensor is missing, misshapen or of no number format that is known.
    """
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    for key, shape in shapes.items():
        found = state.get(key)
        if found is None or tuple(found.shape) != shape:
            seen = "is missing" if found is None else f"has shape {tuple(found.shape)}, not {shape}"
            raise UserError(f"The {what} has an unknown layout: {key} {seen}.")
        if found.dtype not in NUMBERS:
            known = ", ".join(_format(dtype) for dtype in NUMBERS)
            raise UserError(f"The {what} keeps {key} as {_format(found.dtype)}, which cannot be trained; {known} can.")
    if extra := state.keys() - shapes.keys():
        raise UserError(f"The {what} has an unknown layout: it also holds {sorted(extra)[0]}.")
    module.load_state_dict({key: value.float() for key, value in state.items() if value is not None}, assign=True)
    return module.requires_grad_(False).eval()


def _format(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


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
    read = keys.open_clip_from_checkpoint if spec.open_clip else keys.clip_from_checkpoint
    return _tower(read(checkpoint, spec.prefix), spec, f"text encoder in {source}", spec.unused_layers)


def _tower(state: StateDict, spec: Tower, what: str, unused_layers: int = 0, **known: Any) -> TextTower:
    """The tower of ``state``, in transformers' keys; ``known`` settings overrule what its shapes seem to say."""
    from transformers import CLIPTextConfig

    config = text_config(Part(state, what), spec, unused_layers) | known
    first = config["num_hidden_layers"]
    unused = tuple(f"text_model.encoder.layers.{first + number}." for number in range(unused_layers))
    state = {key: value for key, value in state.items() if not key.startswith(unused)}
    if not spec.pooled:
        state.pop("text_projection.weight", None)
    return _fill(_empty(what, lambda: new_tower(CLIPTextConfig(**config), spec)), state, what)


def _open_folder(path: Path, prediction_type: str | None) -> Model:
    """A folder as diffusers' ``save_pretrained`` writes it, in any of its variants."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    name, scheduler = path.absolute().name, settings_in(path, "scheduler", "scheduler_config.json")
    unet = _network_in(path / "unet", settings_in(path, "unet"), [UNet2DConditionModel])
    vae = _network_in(path / "vae", settings_in(path, "vae"), [AutoencoderKL, AutoencoderTiny])
    first, two = settings_in(path, "text_encoder"), (path / "text_encoder_2").is_dir()
    family = SDXL if two else SD1 if first.get("hidden_act") == "quick_gelu" else SD2
    towers = [_tower_in(path / "text_encoder", first, family.towers[0])]
    if two:
        towers.append(_tower_in(path / "text_encoder_2", settings_in(path, "text_encoder_2"), family.towers[1]))
    if unet.config.in_channels != 4:
        raise UserError(f"{path} takes {unet.config.in_channels} latent channels; a text-to-image model takes 4.")
    kind = str(scheduler.get("_class_name", "DDIMScheduler"))
    guess = "flow" if kind.startswith("FlowMatch") else str(scheduler.get("prediction_type", "epsilon"))
    denoiser = _denoiser(prediction_type or guess, unet, TextEncoder(family, towers), str(path))
    return Model(family, denoiser, LatentCodec(vae), name, _unet_sha256(unet))


def _network_in(folder: Path, settings: dict[str, Any], known: list[Any]) -> Any:
    """The diffusers module in ``folder``, of one of the classes ``known``."""
    kind = next((kind for kind in known if kind.__name__ == settings.get("_class_name")), None)
    if kind is None:
        names = " or ".join(kind.__name__ for kind in known)
        raise UserError(f"{folder} holds a {settings.get('_class_name')}; known is {names}.")
    weights, what = weights_in(folder), f"network in {folder}"
    for old, new in keys.OLD_ATTENTION.items():
        weights = {key.replace(old, new): value for key, value in weights.items()}
    return _fill(_empty(what, kind.from_config, settings), weights, what)


def _tower_in(folder: Path, settings: dict[str, Any], spec: Tower) -> TextTower:
    weights = weights_in(folder)
    state = keys.clip_from_checkpoint(weights, "")
    if "text_projection.weight" in weights:
        state["text_projection.weight"] = weights["text_projection.weight"]
    heads = {key: settings[key] for key in ("num_attention_heads",) if key in settings}
    return _tower(state, spec, f"text encoder in {folder}", **heads)

"""Stable Diffusion models out of single files and diffusers folders, without any network."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ...errors import UserError
from ...weights import read_state_dict
from ..interface import StateDict
from ..levels import TIMESTEPS
from . import keys
from .families import (
    SD1,
    SD2,
    SDXL,
    Part,
    Tower,
    looks_like_v_prediction,
    recognise,
    text_config,
    unet_config,
    vae_config,
)
from .folder import settings_in, weights_in
from .model import Model, model_to_state_dict, unet_fingerprint, unet_sha256
from .text import TextEncoder, TextTower, new_tower
from .unet import SCHEDULE, UNetDenoiser
from .vae import LatentCodec

Network = TypeVar("Network", bound=nn.Module)

UNET_PREDICTIONS = ("epsilon", "v_prediction")
NUMBERS = (torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e4m3fn, torch.float8_e5m2)
_SCALES = (".weight_scale", ".scale_weight", ".comfy_quant", ".absmax", "scaled_fp8")  # multiply what is quantised
# What diffusers and transformers raise on settings of no network, depending on which they stumble over.
_BUILDING_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RuntimeError)


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
    names = keys.unet_keys(unet)
    _fill(unet, {ours: checkpoint.get(theirs) for ours, theirs in names.items()}, part.name)
    if surplus := part.keys() - {theirs.removeprefix(keys.UNET_PREFIX) for theirs in names.values()}:
        raise UserError(f"The {part.name} has layers that {family.name} has not, such as {min(surplus)}.")

    part = Part(checkpoint, f"VAE in {name}", keys.VAE_PREFIX)
    if any(key.startswith("taesd_") for key in part):
        vae = _empty(part.name, AutoencoderTiny)
    else:
        vae = _empty(part.name, AutoencoderKL, **vae_config(part, family))
    weights = {ours: checkpoint.get(theirs) for ours, theirs in keys.vae_keys(vae).items()}
    _fill(vae, {ours: _to_shape_of(vae, ours, value) for ours, value in weights.items()}, part.name)

    text = TextEncoder(family, [_tower_from(checkpoint, tower, name) for tower in family.towers])
    kind = prediction_type or ("v_prediction" if looks_like_v_prediction(checkpoint, family) else "epsilon")
    denoiser = UNetDenoiser(unet, text, kind, _schedule_of(checkpoint, name))
    model = Model(family, denoiser, LatentCodec(vae), name, unet_sha256(unet), fingerprint=unet_fingerprint(unet))
    mapped = model_to_state_dict(model)
    model.unmapped = {
        key: value for key, value in checkpoint.items() if key not in mapped and not key.startswith("model_ema.")
    }
    return model


def open_tiny_vae(path: Path) -> LatentCodec:
    """An AutoencoderTiny: diffusers' folder, its one .safetensors, or TAESD's published decoder, alone or in a folder
    with its encoder.

    Raises UserError where it is none of these.
    """
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    halves = {side: path / f"taesd_{side}.safetensors" for side in ("encoder", "decoder")}
    published_folder = path.is_dir() and halves["decoder"].is_file()
    if published_folder:
        weights = read_state_dict(halves["decoder"])
    else:
        weights = weights_in(path) if path.is_dir() else read_state_dict(path)
    tiny = _empty("tiny VAE", AutoencoderTiny)
    if not any(key.startswith("decoder.") for key in weights):
        published = {f"{keys.VAE_PREFIX}taesd_decoder.{key}": value for key, value in weights.items()}
        if published_folder and halves["encoder"].is_file():
            encoder = read_state_dict(halves["encoder"])
            published |= {f"{keys.VAE_PREFIX}taesd_encoder.{key}": value for key, value in encoder.items()}
        else:
            tiny.register_module("encoder", nn.Identity())  # the decoder will do for training
        weights = {key: published.get(keys.tiny_vae_key(key)) for key in tiny.state_dict()}
    return LatentCodec(_fill(tiny, weights, f"tiny VAE in {path}"))


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


def _schedule_of(checkpoint: StateDict, source: str) -> dict[str, Any]:
    """What marks in a single file say of its noise schedule; ComfyUI reads the same ones."""
    if any(mark in checkpoint for mark in ("edm_mean", "edm_vpred.sigma_max")):
        raise UserError(
            f"{source} is an EDM model, whose noise levels have no timesteps. The command line cannot train it; the "
            "node Train Aging Subject can, with method lora."
        )
    return {"rescale_betas_zero_snr": True} if "ztsnr" in checkpoint else {}


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
    kind, schedule = _scheduler_settings(scheduler, prediction_type, path / "scheduler")
    denoiser = UNetDenoiser(unet, TextEncoder(family, towers), kind, schedule)
    sha256, marks = unet_sha256(unet), unet_fingerprint(unet)
    return Model(family, denoiser, LatentCodec(vae), name, sha256, fingerprint=marks)


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


def _scheduler_settings(
    settings: dict[str, Any], prediction_type: str | None, source: Path
) -> tuple[str, dict[str, Any]]:
    """Prediction type and betas in a scheduler's config. Raises UserError for what training could not honour."""
    name, steps = str(settings.get("_class_name", "its scheduler")), settings.get("num_train_timesteps", TIMESTEPS)
    guess = "flow" if "FlowMatch" in name else str(settings.get("prediction_type", "epsilon"))
    kind, zero_snr = prediction_type or guess, bool(settings.get("rescale_betas_zero_snr"))
    problems = {
        f"predicts {kind}; known are {' and '.join(UNET_PREDICTIONS)}": kind not in UNET_PREDICTIONS,
        f"has {steps} timesteps instead of {TIMESTEPS}": steps != TIMESTEPS,
        "has noise levels without timesteps": "EDM" in name,
        "has betas of its own (trained_betas)": settings.get("trained_betas") is not None,
        "has a last level without any signal (rescale_betas_zero_snr), at which predicted noise says nothing": zero_snr
        and kind == "epsilon",
    }
    if problem := next((words for words, found in problems.items() if found), None):
        raise UserError(f"{source} ({name}) {problem}; that cannot be trained here.")
    schedule = {key: settings.get(key, default) for key, default in SCHEDULE.items()}
    return kind, schedule | ({"rescale_betas_zero_snr": True} if zero_snr else {})

"""Opens Stable Diffusion models from single files and diffusers folders, without internet access."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ...errors import DamagedFile, UnsupportedModel
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
_SCALES = (".weight_scale", ".scale_weight", ".comfy_quant", ".absmax", "scaled_fp8")  # only quantised files have them
# Depending on the setting, diffusers and transformers raise any of these for an impossible config.
_BUILDING_ERRORS = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, AssertionError, RuntimeError)


def open_model(path: Path, prediction_type: str | None = None) -> Model:
    """Opens the model in a single file or a diffusers folder.

    ``prediction_type`` ("epsilon", "v_prediction") overrides the detected one.
    Raises UserError if the model is missing, damaged or not supported.
    """
    if path.is_dir():
        return _open_folder(path, prediction_type)
    return model_from_state_dict(read_state_dict(path), path.name, prediction_type)


def model_from_state_dict(checkpoint: StateDict, name: str, prediction_type: str | None = None) -> Model:
    """Builds the model from a single file's state dict; see open_model. ``name`` is its name in messages."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    family = recognise(checkpoint, name)
    checkpoint = keys.vae_from_checkpoint(checkpoint)
    if scale := next((key for key in checkpoint if key.endswith(_SCALES)), None):
        raise UnsupportedModel(f"{name} is quantised (it contains {scale}). Use the same model in bf16, fp16 or fp32.")
    part = Part(checkpoint, f"UNet in {name}", keys.UNET_PREFIX)
    unet = _empty(part.name, UNet2DConditionModel, **unet_config(part, family))
    names = keys.unet_keys(unet)
    _fill(unet, {ours: checkpoint.get(theirs) for ours, theirs in names.items()}, part.name)
    if surplus := part.keys() - {theirs.removeprefix(keys.UNET_PREFIX) for theirs in names.values()}:
        raise UnsupportedModel(f"The {part.name} has layers that {family.name} does not have, such as {min(surplus)}.")

    part = Part(checkpoint, f"VAE in {name}", keys.VAE_PREFIX)
    if any(key.startswith("taesd_") for key in part):
        vae = _empty(part.name, AutoencoderTiny)
    else:
        vae = _empty(part.name, AutoencoderKL, **vae_config(part, family))
    weights = {ours: checkpoint.get(theirs) for ours, theirs in keys.vae_keys(vae).items()}
    _fill(vae, {ours: _to_shape_of(vae, ours, value) for ours, value in weights.items()}, part.name)

    text = TextEncoder(family, [_tower_from(checkpoint, tower, name) for tower in family.towers])
    prediction_type = prediction_type or ("v_prediction" if looks_like_v_prediction(checkpoint, family) else "epsilon")
    denoiser = UNetDenoiser(unet, text, prediction_type, _schedule_of(checkpoint, name))
    model = Model(
        family, denoiser, LatentCodec(vae, part.name), name, unet_sha256(unet), fingerprint=unet_fingerprint(unet)
    )
    mapped = model_to_state_dict(model)
    model.unmapped = {
        key: value for key, value in checkpoint.items() if key not in mapped and not key.startswith("model_ema.")
    }
    return model


def open_tiny_vae(path: Path) -> LatentCodec:
    """Opens an AutoencoderTiny from a diffusers folder, its .safetensors file, or TAESD's published files.

    TAESD's decoder can be a single file, or be in a folder with or without the encoder; without it, ``encode`` does not
    work. Raises UserError for anything else.
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
            tiny.register_module("encoder", nn.Identity())  # training needs only the decoder
        weights = {key: published.get(keys.tiny_vae_key(key)) for key in tiny.state_dict()}
    description = f"tiny VAE in {path}"
    return LatentCodec(_fill(tiny, weights, description), description)


def _empty(description: str, make: Callable[..., Network], *args: Any, **config: Any) -> Network:
    """Builds a module without weights, for ``_fill``. Raises UserError if its config is impossible."""
    from accelerate import init_empty_weights

    try:
        with init_empty_weights():
            return make(*args, **config)
    except _BUILDING_ERRORS as error:
        raise UnsupportedModel(
            f"The {description} has a shape that no supported model has; the file may be damaged."
        ) from error


def _fill(module: Network, state: Mapping[str, torch.Tensor | None], description: str) -> Network:
    """Loads ``state`` into ``module`` as float32 and freezes it.

    Raises UserError if a tensor is missing, unexpected, or has the wrong shape or an unsupported dtype.
    """
    shapes = {key: tuple(value.shape) for key, value in module.state_dict().items()}
    for key, shape in shapes.items():
        tensor = state.get(key)
        if tensor is None or tuple(tensor.shape) != shape:
            problem = "is missing" if tensor is None else f"has shape {tuple(tensor.shape)}, not {shape}"
            raise DamagedFile(f"The {description} has an unknown layout: {key} {problem}.")
        if tensor.dtype not in NUMBERS:
            supported = ", ".join(_dtype_name(dtype) for dtype in NUMBERS)
            raise UnsupportedModel(
                f"The {description} stores {key} as {_dtype_name(tensor.dtype)}, which cannot be trained. "
                f"Supported are {supported}."
            )
    if extra := state.keys() - shapes.keys():
        raise DamagedFile(f"The {description} has an unknown layout: it also contains {sorted(extra)[0]}.")
    module.load_state_dict({key: value.float() for key, value in state.items() if value is not None}, assign=True)
    return module.requires_grad_(False).eval()


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _schedule_of(checkpoint: StateDict, source: str) -> dict[str, Any]:
    """The noise schedule's settings, from the marker keys that ComfyUI also reads. Raises UserError for EDM models."""
    if any(mark in checkpoint for mark in ("edm_mean", "edm_vpred.sigma_max")):
        raise UnsupportedModel(
            f"{source} is an EDM model, whose noise levels have no timesteps. The command line cannot train it; the "
            "node Train Aging Subject can, with method lora."
        )
    return {"rescale_betas_zero_snr": True} if "ztsnr" in checkpoint else {}


def _to_shape_of(vae: nn.Module, key: str, value: torch.Tensor | None) -> torch.Tensor | None:
    """``value`` in the shape that ``vae`` needs: checkpoints store attention's linear layers as 1x1 convolutions."""
    if value is None or value.ndim != 4 or vae.get_parameter(key).ndim != 2:
        return value
    return value[:, :, 0, 0]


def _tower_from(checkpoint: StateDict, spec: Tower, source: str) -> TextTower:
    read = keys.open_clip_from_checkpoint if spec.open_clip else keys.clip_from_checkpoint
    return _tower(read(checkpoint, spec.prefix), spec, f"text encoder in {source}", spec.unused_layers)


def _tower(state: StateDict, spec: Tower, description: str, unused_layers: int = 0, **settings: Any) -> TextTower:
    """Builds a tower from ``state`` in transformers' keys. ``settings`` override what its shapes suggest."""
    from transformers import CLIPTextConfig

    config = text_config(Part(state, description), spec, unused_layers) | settings
    first = config["num_hidden_layers"]
    unused = tuple(f"text_model.encoder.layers.{first + number}." for number in range(unused_layers))
    state = {key: value for key, value in state.items() if not key.startswith(unused)}
    if not spec.pooled:
        state.pop("text_projection.weight", None)
    return _fill(_empty(description, lambda: new_tower(CLIPTextConfig(**config), spec)), state, description)


def _open_folder(path: Path, prediction_type: str | None) -> Model:
    """Opens a folder written by diffusers' ``save_pretrained``, in any of its variants."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    name, scheduler = path.absolute().name, settings_in(path, "scheduler", "scheduler_config.json")
    unet = _network_in(path / "unet", settings_in(path, "unet"), [UNet2DConditionModel])
    vae = _network_in(path / "vae", settings_in(path, "vae"), [AutoencoderKL, AutoencoderTiny])
    text, has_second = settings_in(path, "text_encoder"), (path / "text_encoder_2").is_dir()
    family = SDXL if has_second else SD1 if text.get("hidden_act") == "quick_gelu" else SD2
    towers = [_tower_in(path / "text_encoder", text, family.towers[0])]
    if has_second:
        towers.append(_tower_in(path / "text_encoder_2", settings_in(path, "text_encoder_2"), family.towers[1]))
    if unet.config.in_channels != 4:
        raise UnsupportedModel(
            f"The UNet in {path} has {unet.config.in_channels} input channels; a text-to-image model has 4."
        )
    prediction_type, schedule = _scheduler_settings(scheduler, prediction_type, path / "scheduler")
    denoiser = UNetDenoiser(unet, TextEncoder(family, towers), prediction_type, schedule)
    codec = LatentCodec(vae, f"VAE in {path / 'vae'}")
    return Model(family, denoiser, codec, name, unet_sha256(unet), fingerprint=unet_fingerprint(unet))


def _network_in(folder: Path, settings: dict[str, Any], classes: list[Any]) -> Any:
    """Opens the diffusers module in ``folder``, which must be one of ``classes``."""
    name = settings.get("_class_name")
    network = next((network for network in classes if network.__name__ == name), None)
    if network is None:
        supported = " or ".join(network.__name__ for network in classes)
        raise UnsupportedModel(f"{folder} contains a {name}; it must be {supported}.")
    weights, description = weights_in(folder), f"network in {folder}"
    for old, new in keys.OLD_ATTENTION.items():
        weights = {key.replace(old, new): value for key, value in weights.items()}
    return _fill(_empty(description, network.from_config, settings), weights, description)


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
    """Prediction type and betas in a scheduler's config. Raises UserError if they cannot be trained."""
    name, steps = str(settings.get("_class_name", "its scheduler")), settings.get("num_train_timesteps", TIMESTEPS)
    own = "flow" if "FlowMatch" in name else str(settings.get("prediction_type", "epsilon"))
    prediction, zero_snr = prediction_type or own, bool(settings.get("rescale_betas_zero_snr"))
    problems = {
        f"it predicts {prediction}, not {' or '.join(UNET_PREDICTIONS)}": prediction not in UNET_PREDICTIONS,
        f"it has {steps} timesteps instead of {TIMESTEPS}": steps != TIMESTEPS,
        "its noise levels have no timesteps": "EDM" in name,
        "it has custom betas (trained_betas)": settings.get("trained_betas") is not None,
        "its last level is pure noise (rescale_betas_zero_snr), which needs a v model": zero_snr
        and prediction == "epsilon",
    }
    if problem := next((problem for problem, applies in problems.items() if applies), None):
        raise UnsupportedModel(f"{source} ({name}) cannot be trained: {problem}.")
    schedule = {key: settings.get(key, default) for key, default in SCHEDULE.items()}
    return prediction, schedule | ({"rescale_betas_zero_snr": True} if zero_snr else {})

"""LoRA (Hu et al. 2021): adds one with peft, saves it in the key layout of kohya's trainer, and merges one.

ComfyUI's Load LoRA, A1111/Forge and diffusers' load_lora_weights all read kohya's layout.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...config import LORA_LAYERS, TrainingConfig
from ...errors import DamagedFile, ModelMismatch
from ..interface import StateDict
from ..subject import not_finite
from .keys import UNET_PREFIX, unet_keys
from .unet import UNetDenoiser

_DOWN, _UP, _ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"  # per layer; alpha is optional
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")


def _parts(denoiser: UNetDenoiser) -> dict[str, nn.Module]:
    """The modules that can have a LoRA, by their prefix in a LoRA file."""
    towers = denoiser.text.towers
    names = ["lora_te"] if len(towers) == 1 else [f"lora_te{index + 1}" for index in range(len(towers))]
    return {"lora_unet": denoiser.unet, **dict(zip(names, towers, strict=True))}


def add_lora(denoiser: UNetDenoiser, config: TrainingConfig) -> None:
    """Adds a new LoRA to the layers in ``config``. It changes no output until it is trained."""
    from diffusers.training_utils import cast_training_params
    from peft import LoraConfig, inject_adapter_in_model

    unet_layers = [layer for group in config.lora_layers for layer in LORA_LAYERS[group]]
    alpha: Any = config.lora_alpha  # peft annotates int, but a float works
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for name, module in _parts(denoiser).items():
            if name == "lora_unet" or config.trains_text_encoder:
                layers = unet_layers if name == "lora_unet" else list(TEXT_LAYERS)
                settings = LoraConfig(
                    r=config.rank, lora_alpha=alpha, target_modules=layers, init_lora_weights="gaussian"
                )
                inject_adapter_in_model(settings, module)
                cast_training_params(module)  # the LoRA is float32, whatever dtype the frozen weights have


@contextmanager
def without_lora(denoiser: UNetDenoiser) -> Generator[UNetDenoiser, None, None]:
    """Switches the LoRA off in the UNet and the text encoder; meanwhile its weights require no gradient."""
    from diffusers.utils import set_adapter_layers

    set_adapter_layers(denoiser, enabled=False)
    try:
        yield denoiser
    finally:
        set_adapter_layers(denoiser, enabled=True)


def lora_state_dict(denoiser: UNetDenoiser, alpha: float) -> StateDict:
    """The LoRA on ``denoiser``, in kohya's keys."""
    from diffusers.utils import convert_state_dict_to_kohya
    from peft import get_peft_model_state_dict

    state = {}
    for prefix, module in _parts(denoiser).items():
        if not any("lora_A" in name for name, _ in module.named_parameters()):
            continue
        for key, value in convert_state_dict_to_kohya(get_peft_model_state_dict(module)).items():
            value = torch.tensor(float(alpha)) if key.endswith(_ALPHA) else value  # diffusers writes the rank as alpha
            state[f"{prefix}_{key}"] = value.detach().cpu()
    return state


@torch.no_grad()
def merge_lora(denoiser: UNetDenoiser, lora: StateDict, strength: float = 1.0) -> None:
    """Adds strength * alpha / rank * up @ down to the weight of every layer in ``lora``.

    Raises UserError if the LoRA is damaged, has other tensors than training writes, or was trained on another model.
    """
    if bad := not_finite(lora):
        raise DamagedFile(f"The LoRA is damaged: {bad} are not finite. Train it again.")
    names = {key.removesuffix(_DOWN) for key in lora if key.endswith(_DOWN)}
    misfits = sorted(lora.keys() - {name + tensor for name in names for tensor in (_DOWN, _UP, _ALPHA)})
    misfits += sorted({name + _UP for name in names} - lora.keys())
    if misfits or not names:
        raise DamagedFile(
            f"This LoRA was not written by Identity Aging: it has {len(names)} layers, and {len(misfits)} tensors are "
            f"unexpected or missing{f', such as {misfits[0]}' if misfits else ''}. Use a subject file as training "
            "wrote it."
        )
    layers = {
        f"{prefix}_{name.replace('.', '_')}": module
        for prefix, part in _parts(denoiser).items()
        for name, module in part.named_modules()
    }
    single_file = {ours: key.removeprefix(UNET_PREFIX) for ours, key in unet_keys(denoiser.unet).items()}
    for name, module in denoiser.unet.named_modules():  # SDXL LoRAs may use single-file names
        if key := single_file.get(f"{name}.weight"):
            layers["lora_unet_" + key.removesuffix(".weight").replace(".", "_")] = module
    for name in sorted(names):
        if name not in layers:
            raise ModelMismatch(
                f"The LoRA has a layer {name}, which this model does not have. It was trained on another model."
            )
        weight = layers[name].weight
        down, up = lora[name + _DOWN].to(weight), lora[name + _UP].to(weight)
        change = _product(up, down)
        if change.shape != weight.shape:
            raise ModelMismatch(
                f"The LoRA's layer {name} has shape {tuple(change.shape)}, but this model's has {tuple(weight.shape)}. "
                "It was trained on another model."
            )
        alpha = lora.get(name + _ALPHA, torch.tensor(float(len(down)))).item()
        weight += strength * alpha / len(down) * change


def _product(up: Tensor, down: Tensor) -> Tensor:
    """up @ down, also for convolutions, where ``up`` is 1x1."""
    return (up.flatten(1) @ down.flatten(1)).reshape(len(up), *down.shape[1:])

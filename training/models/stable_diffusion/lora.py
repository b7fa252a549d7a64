"""LoRA (Hu et al. 2021) on a model: put in with peft, taken out in the keys of kohya's trainer, merged back.

ComfyUI's Load LoRA, A1111/Forge and diffusers' load_lora_weights all read that layout.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ...config import LORA_LAYERS, TrainingConfig
from ...errors import UserError
from ..interface import StateDict
from ..subject import not_finite
from .keys import UNET_PREFIX, unet_keys
from .unet import UNetDenoiser

_DOWN, _UP, _ALPHA = ".lora_down.weight", ".lora_up.weight", ".alpha"  # of a layer; the last may be missing
TEXT_LAYERS = ("q_proj", "k_proj", "v_proj", "out_proj")


def _parts(denoiser: UNetDenoiser) -> dict[str, nn.Module]:
    """The modules that can have a LoRA, under their prefix in a LoRA file."""
    towers = denoiser.text.towers
    names = ["lora_te"] if len(towers) == 1 else [f"lora_te{index + 1}" for index in range(len(towers))]
    return {"lora_unet": denoiser.unet, **dict(zip(names, towers, strict=True))}


def add_lora(denoiser: UNetDenoiser, config: TrainingConfig) -> None:
    """Puts a fresh LoRA on the layers that ``config`` names. It changes nothing until it is trained."""
    from diffusers.training_utils import cast_training_params
    from peft import LoraConfig, inject_adapter_in_model

    unet_layers = [layer for group in config.lora_layers for layer in LORA_LAYERS[group]]
    alpha: Any = config.lora_alpha  # peft's annotation says int; it only divides the number by the rank
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        for name, module in _parts(denoiser).items():
            if name == "lora_unet" or config.trains_text_encoder:
                layers = unet_layers if name == "lora_unet" else list(TEXT_LAYERS)
                settings = LoraConfig(
                    r=config.rank, lora_alpha=alpha, target_modules=layers, init_lora_weights="gaussian"
                )
                inject_adapter_in_model(settings, module)
                cast_training_params(module)  # float32, however the frozen weights are kept


@contextmanager
def without_lora(denoiser: UNetDenoiser) -> Generator[UNetDenoiser, None, None]:
    """``denoiser`` as it was before it had a LoRA."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [layer for layer in denoiser.modules() if isinstance(layer, BaseTunerLayer)]
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield denoiser
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def lora_state_dict(denoiser: UNetDenoiser, alpha: float) -> StateDict:
    """The LoRA on ``denoiser``, in kohya's keys."""
    from peft import get_peft_model_state_dict

    names = {"lora_A.weight": "lora_down.weight", "lora_B.weight": "lora_up.weight"}
    state = {}
    for prefix, module in _parts(denoiser).items():
        if not any("lora_A" in name for name, _ in module.named_parameters()):
            continue
        for key, value in get_peft_model_state_dict(module).items():
            layer, matrix = key.split(".lora_")
            layer = f"{prefix}_{layer.replace('.', '_')}"
            state[f"{layer}.{names['lora_' + matrix]}"] = value.detach().cpu()
            state[f"{layer}.alpha"] = torch.tensor(float(alpha))
    return state


@torch.no_grad()
def merge_lora(denoiser: UNetDenoiser, lora: StateDict, strength: float = 1.0) -> None:
    """W += strength * alpha / rank * up @ down, for every layer in ``lora``.

    Raises UserError where the LoRA was made for another model, holds anything that is no such layer, or is damaged.
    """
    if bad := not_finite(lora):
        raise UserError(f"The LoRA is damaged: {bad} are not finite. Train it anew.")
    names = {key.removesuffix(_DOWN) for key in lora if key.endswith(_DOWN)}
    strange = sorted(lora.keys() - {name + tensor for name in names for tensor in (_DOWN, _UP, _ALPHA)})
    strange += sorted({name + _UP for name in names} - lora.keys())
    if strange or not names:
        raise UserError(
            f"The LoRA is none of ours: it has {len(names)} layers, and {len(strange)} tensors that it should not have "
            f"or lacks{f', such as {strange[0]}' if strange else ''}. Use a subject as training wrote it."
        )
    layers = {
        f"{prefix}_{name.replace('.', '_')}": module
        for prefix, part in _parts(denoiser).items()
        for name, module in part.named_modules()
    }
    theirs = {ours: key.removeprefix(UNET_PREFIX) for ours, key in unet_keys(denoiser.unet).items()}
    for name, module in denoiser.unet.named_modules():  # SDXL's also go by their names in a checkpoint
        if key := theirs.get(f"{name}.weight"):
            layers["lora_unet_" + key.removesuffix(".weight").replace(".", "_")] = module
    for name in sorted(names):
        if name not in layers:
            raise UserError(f"The LoRA has a layer {name} that this model has not; it was trained on another model.")
        weight = layers[name].weight
        down, up = lora[name + _DOWN].to(weight), lora[name + _UP].to(weight)
        change = _product(up, down)
        if change.shape != weight.shape:
            raise UserError(
                f"The LoRA's layer {name} is {tuple(change.shape)} and this model's {tuple(weight.shape)}; "
                "it was trained on another model."
            )
        alpha = lora.get(name + _ALPHA, torch.tensor(float(len(down)))).item()
        weight += strength * alpha / len(down) * change


def _product(up: Tensor, down: Tensor) -> Tensor:
    """up @ down, where either may be the kernels of a convolution (up's are then 1x1)."""
    return (up.flatten(1) @ down.flatten(1)).reshape(len(up), *down.shape[1:])

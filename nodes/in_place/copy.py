"""Copies ComfyUI's MODEL, CLIP and VAE into diffusers' modules, for training that does not work in place."""

import comfy.lora
import comfy.model_sampling
import comfy.ops
import torch

from ...training.errors import InvalidSetting, UnsupportedModel
from ...training.models.interface import StateDict
from ...training.models.stable_diffusion.checkpoint import model_from_state_dict
from ...training.models.stable_diffusion.families import FAMILIES
from ...training.models.stable_diffusion.model import Model
from .identity import check_vae, family_of, has_packed_weights
from .levels import prediction_type

UNET = "diffusion_model."

# Training in place casts weights with this function. Older ComfyUI (0.3.64) lacks it and trains LoRAs on a copy too.
IN_PLACE = hasattr(comfy.ops, "uncast_bias_weight")


def open_comfy(model, clip, vae) -> Model:
    """Copies a graph's model with its patches applied, as float32 on the CPU. The graph's own model does not change.

    Call it outside inference mode. Raises UserError if the family or prediction type cannot be trained.
    """
    family = family_of(model).name
    supported = [trainable.name for trainable in FAMILIES]
    if family not in supported:
        names = ", ".join(supported)
        if not IN_PLACE:
            raise UnsupportedModel(
                f"This MODEL is {family}, but this version of ComfyUI can only train {names}. Update ComfyUI."
            )
        raise InvalidSetting(
            f"method full and train_text_encoder work with {names}, but this MODEL is {family}. Use method lora with "
            "train_text_encoder off."
        )
    check_vae(vae, 4, family)
    for name, patcher in (("MODEL", model), ("CLIP", clip.patcher)):
        if has_packed_weights(patcher):
            raise UnsupportedModel(
                f"This {name} has packed weights (GGUF), which method full and train_text_encoder cannot train. Load "
                "it in bf16 or fp16, or use method lora with train_text_encoder off."
            )
    prediction, markers = _schedule(model.get_model_object("model_sampling"))
    config = model.model.model_config
    unet = {key.removeprefix(UNET): value for key, value in _patched(model, UNET).items()}
    state = config.process_unet_state_dict_for_saving(unet)
    state |= config.process_clip_state_dict_for_saving(_patched(clip.patcher))
    weights = {key: value.to("cpu", torch.float32, copy=True) for key, value in vae.get_sd().items()}
    state |= config.process_vae_state_dict_for_saving(weights)
    state |= {marker: torch.tensor([]) for marker in markers}
    return model_from_state_dict(state, "a model loaded in ComfyUI", prediction)


def _patched(patcher, prefix: str | None = None) -> StateDict:
    """Copies of a ModelPatcher's weights with its patches applied, float32 on the CPU."""
    state = {}
    for key, ((weight, convert), *patches) in patcher.get_key_patches(prefix).items():
        weight = convert(weight.to("cpu", torch.float32, copy=True), inplace=True)
        state[key] = comfy.lora.calculate_weight(patches, weight, key) if patches else weight
    return state


def _schedule(sampling) -> tuple[str, tuple[str, ...]]:
    """Prediction type, and the marker keys with which ComfyUI recognises it and the schedule in a saved checkpoint.

    Raises UserError for noise levels without timesteps, which diffusers' modules do not support.
    """
    prediction = prediction_type(sampling)
    plain = comfy.model_sampling.ModelSamplingDiscrete()
    zero_snr = comfy.model_sampling.ModelSamplingDiscrete(zsnr=True)
    if isinstance(sampling, comfy.model_sampling.ModelSamplingDiscrete) and len(sampling.sigmas) == len(plain.sigmas):
        sigmas = sampling.sigmas.cpu()
        if prediction in ("epsilon", "v_prediction") and torch.allclose(sigmas, plain.sigmas, rtol=1e-3):
            return prediction, ("v_pred",) if prediction == "v_prediction" else ()
        if prediction == "v_prediction" and torch.allclose(sigmas, zero_snr.sigmas, rtol=1e-3):
            return prediction, ("v_pred", "ztsnr")
    raise UnsupportedModel(
        "This MODEL has custom noise levels (EDM, or a changed schedule), which method full and train_text_encoder do "
        "not support. Use method lora with train_text_encoder off."
    )

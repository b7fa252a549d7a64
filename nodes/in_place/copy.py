"""ComfyUI's MODEL, CLIP and VAE copied into diffusers' modules, for what cannot be trained in place."""

import comfy.lora
import comfy.model_sampling
import comfy.ops
import torch

from ...training.errors import UserError
from ...training.models.interface import StateDict
from ...training.models.stable_diffusion.checkpoint import model_from_state_dict
from ...training.models.stable_diffusion.families import FAMILIES
from ...training.models.stable_diffusion.model import Model
from .identity import check_vae, family_of
from .levels import prediction_type

UNET = "diffusion_model."

# What training in place casts weights with. Older ComfyUI (0.3.64) has it not: there LoRAs too are trained on a copy.
IN_PLACE = hasattr(comfy.ops, "uncast_bias_weight")


def open_comfy(model, clip, vae) -> Model:
    """The model that a graph has loaded, patches applied; float32 copies on the CPU, so that the graph's stay as is.

    Call it outside inference mode. Raises UserError for a family or a prediction type that cannot be trained.
    """
    family = family_of(model).name
    if family not in {known.name for known in FAMILIES}:
        names = ", ".join(known.name for known in FAMILIES)
        if not IN_PLACE:
            raise UserError(f"This MODEL is {family}, and in this ComfyUI only {names} can be trained. Update ComfyUI.")
        raise UserError(
            f"Method full, and a LoRA on the text encoder, are for {names}; this MODEL is {family}. Use method lora "
            "with train_text_encoder off."
        )
    check_vae(vae, 4, family)
    kind, marks = _schedule(model.get_model_object("model_sampling"))
    config = model.model.model_config
    unet = {key.removeprefix(UNET): value for key, value in _patched(model, UNET).items()}
    state = config.process_unet_state_dict_for_saving(unet)
    state |= config.process_clip_state_dict_for_saving(_patched(clip.patcher))
    weights = {key: value.to("cpu", torch.float32, copy=True) for key, value in vae.get_sd().items()}
    state |= config.process_vae_state_dict_for_saving(weights)
    state |= {mark: torch.tensor([]) for mark in marks}
    return model_from_state_dict(state, "a model loaded in ComfyUI", kind)


def _patched(patcher, prefix: str | None = None) -> StateDict:
    """Copies of a ModelPatcher's weights with its patches in them, float32 on the CPU."""
    state = {}
    for key, ((weight, convert), *patches) in patcher.get_key_patches(prefix).items():
        weight = convert(weight.to("cpu", torch.float32, copy=True), inplace=True)
        state[key] = comfy.lora.calculate_weight(patches, weight, key) if patches else weight
    return state


def _schedule(sampling) -> tuple[str, tuple[str, ...]]:
    """Prediction type, and the keys by which ComfyUI knows it and the schedule again in a saved checkpoint.

    Raises UserError for noise levels that diffusers' modules have no timesteps for.
    """
    kind = prediction_type(sampling)
    plain = comfy.model_sampling.ModelSamplingDiscrete()
    zero_snr = comfy.model_sampling.ModelSamplingDiscrete(zsnr=True)
    if isinstance(sampling, comfy.model_sampling.ModelSamplingDiscrete) and len(sampling.sigmas) == len(plain.sigmas):
        sigmas = sampling.sigmas.cpu()
        if kind in ("epsilon", "v_prediction") and torch.allclose(sigmas, plain.sigmas, rtol=1e-3):
            return kind, ("v_pred",) if kind == "v_prediction" else ()
        if kind == "v_prediction" and torch.allclose(sigmas, zero_snr.sigmas, rtol=1e-3):
            return kind, ("v_pred", "ztsnr")
    raise UserError(
        "This MODEL has noise levels of its own (EDM, or a changed schedule), which method full, and a LoRA on the "
        "text encoder, cannot train. Use method lora with train_text_encoder off: it trains on the model's own."
    )

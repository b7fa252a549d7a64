"""ComfyUI's MODEL, CLIP and VAE as diffusers' and transformers' modules: from memory, without disk or network."""

import comfy.lora
import comfy.model_sampling
import torch

from ...training.errors import UserError
from ...training.models.checkpoint import Model, model_from_state_dict
from ...training.models.keys import StateDict

UNET = "diffusion_model."


def open_comfy(model, clip, vae) -> Model:
    """The model that a graph has loaded, patches applied; float32 copies on the CPU, so that the graph's stay as is.

    Call it outside inference mode. Raises UserError for a family or a prediction type that cannot be trained.
    """
    if clip is None or vae is None:
        what = "CLIP" if clip is None else "VAE"
        raise UserError(
            f"The loaded checkpoint has no {what}. Load it by a node of its own, and wire that one's {what}."
        )
    if vae.latent_channels != 4:
        raise UserError(
            f"The VAE has {vae.latent_channels} latent channels; Stable Diffusion 1.x, 2.x and SDXL have 4."
        )
    prediction_type = _prediction_type(model.get_model_object("model_sampling"))
    config = model.model.model_config
    unet = {key.removeprefix(UNET): value for key, value in _patched(model, UNET).items()}
    state = config.process_unet_state_dict_for_saving(unet)
    state |= config.process_clip_state_dict_for_saving(_patched(clip.patcher))
    weights = {key: value.to("cpu", torch.float32, copy=True) for key, value in vae.get_sd().items()}
    state |= config.process_vae_state_dict_for_saving(weights)
    if prediction_type == "v_prediction":
        state["v_pred"] = torch.tensor([])  # by this key ComfyUI knows it again in a saved checkpoint
    return model_from_state_dict(state, "a model loaded in ComfyUI", prediction_type)


def _patched(patcher, prefix: str | None = None) -> StateDict:
    """Copies of a ModelPatcher's weights with its patches in them, float32 on the CPU."""
    state = {}
    for key, ((weight, convert), *patches) in patcher.get_key_patches(prefix).items():
        weight = convert(weight.to("cpu", torch.float32, copy=True), inplace=True)
        state[key] = comfy.lora.calculate_weight(patches, weight, key) if patches else weight
    return state


def _prediction_type(sampling) -> str:
    """What the UNet predicts, by the class that ComfyUI mixed into its model_sampling."""
    kinds = {comfy.model_sampling.V_PREDICTION: "v_prediction", comfy.model_sampling.EPS: "epsilon"}
    for mixed_in in type(sampling).__bases__:
        if mixed_in in kinds:
            return kinds[mixed_in]
    raise UserError(
        "This MODEL predicts neither noise nor v. Stable Diffusion 1.x, 2.x and SDXL checkpoints can be trained; take "
        "away what changes its sampling."
    )

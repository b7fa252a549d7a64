"""Loads the tiny Stable Diffusion checkpoints of tests.tiny with ComfyUI's own loader."""

import comfy.model_sampling
import comfy.sd
import comfy.supported_models
import torch

Discrete, Continuous = comfy.model_sampling.ModelSamplingDiscrete, comfy.model_sampling.ModelSamplingContinuousEDM
V, EDM = comfy.model_sampling.V_PREDICTION, comfy.model_sampling.EDM
# Checkpoint, and what a ModelSampling node sets on it: noise levels, prediction type, arguments.
CHECKPOINTS = {
    "SD1": ("sd1", None),
    "SD2, v": ("sd2", (Discrete, V, {})),
    "SDXL": ("sdxl", None),
    "SDXL, zero terminal SNR": ("sdxl", (Discrete, V, {"zsnr": True})),
    "CosXL": ("sdxl", (Continuous, V, {})),
    "EDM": ("sdxl", (Continuous, EDM, {})),
}


def accept_tiny():
    """Adds the sizes of tests.tiny to ComfyUI's model detection, which only knows the real sizes."""
    models = comfy.supported_models
    for family, width, linear in ((models.SDXL, 128, True), (models.SD20, 64, True), (models.SD15, 64, False)):
        sizes = {"model_channels": 32, "context_dim": width, "use_linear_in_transformer": linear}
        heads = {"unet_extra_config": {"num_heads": 1, "num_head_channels": -1}} if family is models.SD20 else {}
        models.models.insert(0, type(family.__name__, (family,), {"unet_config": sizes} | heads))


def open_checkpoint(name, folder):
    """Returns MODEL, CLIP and VAE as Load Checkpoint does, with the sampling of CHECKPOINTS set on the MODEL."""
    file, sampling = CHECKPOINTS[name]
    layers = 2 if file == "sd1" else 3
    clip = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": layers, "num_attention_heads": 1}
    text = {f"clip_{size}_model_config": clip | {"projection_dim": 64} for size in "lgh"}
    with torch.inference_mode():
        model, clip, vae = comfy.sd.load_checkpoint_guess_config(
            f"{folder}/{file}.safetensors", model_options={"dtype": torch.float32},
            te_model_options=text | {"dtype": torch.float32},
        )[:3]  # fmt: skip
    if sampling:
        levels, prediction, options = sampling
        model_sampling = type("Sampling", (levels, prediction), {})(**options)
        if prediction is EDM:
            model_sampling.set_parameters(0.002, 80.0, 0.5)
        model.add_object_patch("model_sampling", model_sampling)
    return model, clip, vae

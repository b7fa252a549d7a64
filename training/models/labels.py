"""What other tools call the model families: in ModelSpec headers, and in the headers of kohya's LoRAs."""

from dataclasses import dataclass

STABILITY = "https://github.com/Stability-AI/generative-models"
FLUX = "https://github.com/black-forest-labs/flux"


@dataclass(frozen=True)
class Label:
    """The names of one family."""

    architecture: str  # modelspec.architecture, without "/lora"
    base: str  # ss_base_model_version
    implementation: str = ""  # modelspec.implementation of a LoRA; empty if no trainer names one


# By a subject's family, and by its prediction type if a family has several names. From sd-scripts
# (library/sai_model_spec.py), or musubi-tuner for families that sd-scripts does not train.
LABELS = {
    "Stable Diffusion 1.x": Label("stable-diffusion-v1", "sd_v1", "diffusers"),
    "Stable Diffusion 2.x": Label("stable-diffusion-v2-768-v", "sd_v2_v", "diffusers"),
    "Stable Diffusion 2.x epsilon": Label("stable-diffusion-v2-512", "sd_v2", "diffusers"),
    "SDXL": Label("stable-diffusion-xl-v1-base", "sdxl_base_v1-0", STABILITY),
    "SD3": Label("stable-diffusion-3", "sd3", "diffusers"),
    "Flux": Label("flux-1-dev", "flux1", FLUX),
    "FluxSchnell": Label("flux-1-schnell", "flux1", FLUX),
    "Flux2": Label("flux2", "flux2", "https://github.com/black-forest-labs/flux2"),
    "Chroma": Label("chroma", "chroma", "https://huggingface.co/lodestones/Chroma"),
    "Lumina2": Label("lumina-2", "lumina2", "https://github.com/Alpha-VLLM/Lumina-Image-2.0"),
    "Anima": Label("anima-preview", "anima", "https://huggingface.co/circlestone-labs/Anima"),
    "HunyuanImage21": Label("hunyuan-image-2.1", "hunyuan-image-2.1", "diffusers"),
    "HunyuanVideo": Label("hunyuan-video", "hunyuan_video", "https://github.com/Tencent/HunyuanVideo"),
    "QwenImage": Label("Qwen-Image", "qwen_image", "https://github.com/QwenLM/Qwen-Image"),
    "WAN21_T2V": Label("wan2.1", "wan", "https://github.com/Wan-Video/Wan2.1"),
    "ZImage": Label("Z-Image", "z_image", "https://github.com/Tongyi-MAI/Z-Image"),
    "Krea2": Label("Krea-2", "krea2", "https://github.com/krea-ai/krea-2"),
}


def label_of(family: str, prediction_type: str) -> Label:
    """The names of ``family``, which are its own name if other tools have none."""
    return LABELS.get(f"{family} {prediction_type}") or LABELS.get(family) or Label(family.lower(), family.lower())

"""Runs in ComfyUI's own Python: compares the copied model with ComfyUI's. Writes JSON to a file.

usage: python inside.py COMFYUI REPOSITORY CHECKPOINT FOLDER [tiny-sdxl]
"""

import importlib.util
import json
import logging
import re
import sys
from pathlib import Path

comfyui, repository, checkpoint, folder, *tiny_sdxl = sys.argv[1:]
sys.path.insert(0, comfyui)
sys.argv = [sys.argv[0], "--cpu"]
import comfy.options  # noqa: E402

comfy.options.enable_args_parsing()
import comfy.sd  # noqa: E402
import comfy.supported_models  # noqa: E402
import comfy.utils  # noqa: E402
import torch  # noqa: E402

torch.use_deterministic_algorithms(True, warn_only=True)  # fills uninitialised memory with nan, to expose its use
logging.disable(logging.CRITICAL)
spec = importlib.util.spec_from_file_location("pack", Path(repository) / "__init__.py")
sys.modules["pack"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(sys.modules["pack"])

from pack.nodes.in_place.copy import open_comfy  # noqa: E402
from pack.training.config import LORA_LAYERS, TrainingConfig  # noqa: E402
from pack.training.models.stable_diffusion.lora import add_lora, lora_state_dict  # noqa: E402
from pack.training.models.stable_diffusion.model import model_to_state_dict  # noqa: E402

T = 400


EXACT = {"dtype": torch.float32}  # otherwise patched weights are rounded to the float16 of the file


def small_clip(**projection):
    """The config of a text tower in tests.tiny."""
    return {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 3, "num_attention_heads": 1, **projection}


def accept_tiny_sdxl():
    """Adds the size of tests.tiny to ComfyUI's model detection, which only knows the real size."""

    class TinySDXL(comfy.supported_models.SDXL):
        unet_config = {"model_channels": 32, "context_dim": 128}

    comfy.supported_models.models.insert(0, TinySDXL)
    return EXACT | {"clip_l_model_config": small_clip(), "clip_g_model_config": small_clip(projection_dim=64)}


def weights(patcher):
    return {key: value.clone() for key, value in patcher.model.state_dict().items()}


def same(before, after):
    """Compares bits, not values: SDXL has no projection for CLIP-L, and ComfyUI keeps uninitialised memory for it."""
    return before.keys() == after.keys() and all(torch.equal(bits(before[key]), bits(after[key])) for key in before)


def bits(value):
    return value.flatten().view(torch.uint8)


def theirs(model, clip, prompt, x_t):
    """ComfyUI's epsilon or v: the raw output of the UNet at timestep T."""
    comfy.model_management.load_models_gpu([model])
    encoded = clip.encode_from_tokens(clip.tokenize(prompt), return_dict=True)
    options = {}
    if encoded.get("pooled_output") is not None and model.model.adm_channels:
        side = 8 * x_t.shape[-1]
        options["y"] = model.model.encode_adm(
            pooled_output=encoded["pooled_output"], device="cpu", width=side, height=side
        )
    unet = model.model.diffusion_model
    return unet(x_t, torch.tensor([T]), context=encoded["cond"].float(), **options)


def ours(opened, prompt, x_t):
    return opened.denoiser(x_t, torch.tensor([T]), [prompt])


def apart(one, other):
    return (one - other).abs().max().item() / other.abs().max().item()


@torch.inference_mode()
def main():
    text = accept_tiny_sdxl() if tiny_sdxl else EXACT
    model, clip, vae = comfy.sd.load_checkpoint_guess_config(
        checkpoint, output_vae=True, output_clip=True, model_options=EXACT, te_model_options=text
    )[:3]
    x_t, prompt = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0)), "photo of a sks person as old"
    before = [weights(model), weights(clip.patcher)]
    with torch.inference_mode(False), torch.no_grad():
        opened = open_comfy(model, clip, vae)
    result = {
        "family": opened.family.name,
        "epsilon": apart(ours(opened, prompt, x_t), theirs(model, clip, prompt, x_t)),
    }
    weighted = r"photo of a (sks person:1.4) as ((old)), (in a (garden:0.6)) \(spring\) :)"
    result["weighted_epsilon"] = apart(ours(opened, weighted, x_t), theirs(model, clip, weighted, x_t))
    result["weights_change"] = apart(
        ours(opened, weighted, x_t), ours(opened, re.sub(r"[():]|\d\.\d", "", weighted), x_t)
    )
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    decoded = vae.decode(latents / opened.family.latent_scale) * 2 - 1
    result["decoded"] = apart(opened.codec.decode(latents).clamp(-1, 1).movedim(1, -1), decoded.reshape(1, 64, 64, 3))
    result["untouched"] = all(same(*pair) for pair in zip(before, (weights(model), weights(clip.patcher)), strict=True))
    result["trainable"] = not any(weight.is_inference() for weight in opened.denoiser.parameters())
    file = comfy.utils.load_torch_file(checkpoint)
    saved = model_to_state_dict(opened)
    result["round_trip"] = [key for key, value in file.items() if not torch.equal(saved[key].to(value.dtype), value)]

    with torch.inference_mode(False), torch.no_grad():
        everything = TrainingConfig(lora_layers=tuple(LORA_LAYERS), train_text_encoder=True, rank=4)
        add_lora(opened.denoiser, everything)
        for name, weight in opened.denoiser.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight, std=0.01)
        lora = {key: value.clone() for key, value in lora_state_dict(opened.denoiser, 16.0).items()}
    patched, patched_clip = comfy.sd.load_lora_for_models(model, clip, lora, 1.0, 1.0)
    result["lora_layers"] = sum(key.endswith("lora_up.weight") for key in lora)
    result["patched"] = len(patched.patches) + len(patched_clip.patcher.patches)
    with_lora = theirs(patched, patched_clip, prompt, x_t)
    result["lora_epsilon"] = apart(ours(opened, prompt, x_t), with_lora)
    result["lora_changes"] = apart(with_lora, theirs(model, clip, prompt, x_t))
    with torch.inference_mode(False), torch.no_grad():
        reopened = open_comfy(patched, patched_clip, vae)
    result["patches_applied"] = apart(ours(reopened, prompt, x_t), theirs(patched, patched_clip, prompt, x_t))
    (Path(folder) / "result.json").write_text(json.dumps(result))


main()

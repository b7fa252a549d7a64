"""Runs in ComfyUI's own Python: trains models, text encoders and VAEs that a graph changed. Writes JSON to a file.

usage: python unfit.py COMFYUI REPOSITORY FOLDER
"""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import in_place
import torch
from in_place import ARCHITECTURES, ComfyModel, RandomClip, load, load_vae, trainer_of

sys.argv = [sys.argv[0], "--cpu"]
import comfy.conds  # noqa: E402
import comfy.sd  # noqa: E402
from architectures import KL, flux, wan  # noqa: E402
from pack.nodes.in_place import experts  # noqa: E402
from pack.nodes.in_place.model import UNSET  # noqa: E402
from pack.training.errors import UserError  # noqa: E402

ARCHITECTURE = ARCHITECTURES["Flux2"]()
LORA = {
    "diffusion_model.double_blocks.0.img_attn.proj.lora_A.weight": torch.ones(1, 128),
    "diffusion_model.double_blocks.0.img_attn.proj.lora_B.weight": torch.ones(128, 1),
}


class HookedClip(RandomClip):
    """A CLIP after Set CLIP Hooks."""

    def encode_from_tokens_scheduled(self, prompt):
        return [[cond, extra | {"hooks": object()}] for cond, extra in super().encode_from_tokens_scheduled(prompt)]


class UnsetClip(RandomClip):
    """A CLIP with a weight that is missing in its file, so it holds uninitialised memory."""

    def __init__(self, widths, **weights):
        super().__init__(widths)
        self.patcher = SimpleNamespace(model_state_dict=lambda prefix=None: weights, backup={}, patches={})


class Failing(torch.nn.Module):
    """Needs an option that only a sampler sets."""

    def forward(self, x):
        raise KeyError("sample_sigmas")


def train(source, clip=None, vae=None, architecture=ARCHITECTURE):
    """Trains two steps. Returns the type and message of the error, or "trained"."""
    vae = vae or load_vae(architecture.vae)
    trainer = None
    try:
        trainer = trainer_of(ComfyModel(source, clip or RandomClip(architecture.text), vae), train_batch_size=1)
        trainer.step()
        trainer.step()
    except UserError as error:
        return [type(error).__name__, str(error)]
    finally:
        if trainer:
            trainer.model.close()
    return "trained"


def bypassed(source):
    with torch.inference_mode():
        return comfy.sd.load_bypass_lora_for_models(source, None, LORA, 1.0, 0)[0]


def failing(source):
    source.model.diffusion_model.double_blocks[0].img_mlp = Failing()
    return source


def nameless(source):
    """Makes a layer store its weight under another name, where ComfyUI's LoRA loader does not look."""
    layer = source.model.diffusion_model.double_blocks[0].img_attn.proj
    layer._save_to_state_dict = lambda destination, prefix, keep: destination.update({f"{prefix}q": layer.weight})
    return source


def sounding(source):
    source.model.diffusion_model.audio_proj = torch.nn.Identity()
    return source


def asking(source):
    """Makes the conditioning pass through a layer that gets a LoRA."""
    plain, layer = source.model.extra_conds, source.model.diffusion_model.double_blocks[0].txt_attn.proj

    def extra_conds(**options):
        out = plain(**options)
        text = out["c_crossattn"].cond
        out["c_crossattn"] = comfy.conds.CONDRegular(text + layer(torch.ones(1, 1, 128))[..., : text.shape[-1]])
        return out

    source.model.extra_conds = extra_conds
    return source


def rows(model):
    """Returns predictions for three rows with different noise levels: in one batch, and one by one."""
    trainer = trainer_of(model)
    core, batch = trainer.core, trainer.data.sample(0)
    x_t, sigmas, prompts = core.noised(batch.x_0, batch.noise, batch.t), core.sigmas[batch.t], batch.prompts
    with torch.no_grad(), model.stepping(in_place.SIDE):
        together = core.denoised(x_t, sigmas, prompts)
        separate = [
            core.denoised(x_t[row : row + 1], sigmas[row : row + 1], [prompts[row]]) for row in range(len(prompts))
        ]
    model.close()
    return together, torch.cat(separate)


def broken_vae(part):
    """A VAE with a nan in this part, "encoder" or "decoder", as if ComfyUI had loaded it from broken.safetensors."""
    vae = load_vae(ARCHITECTURE.vae)
    with torch.inference_mode():
        getattr(vae.first_stage_model, part).conv_in.weight[0, 0, 0, 0] = torch.nan
    vae.patcher.cached_patcher_init = (load_vae, ("/models/vae/broken.safetensors",))
    return vae


def overwriting(source):
    """Adds a patch that works in place, as FreeU_V2 does."""
    source.set_model_attn1_output_patch(lambda attention, options: attention.sigmoid().mul_(2))
    return source


def opened(source, clip=None):
    return ComfyModel(source, clip or RandomClip(ARCHITECTURE.text), load_vae(ARCHITECTURE.vae))


def patched(source):
    """Adds a patch that reads the noise level, as PatchModelAddDownscale does."""

    def patch(arguments):
        level = arguments["transformer_options"]["sigmas"][0]
        return arguments | {"img": arguments["img"] * (1 + level)}

    source.set_model_post_input_patch(patch)
    return source


def wan_sigmas(file, timestep_sampling=None, **changes):
    """The sigmas that training visits on a Wan opened from ``file``, or the type and message of the error."""
    architecture, experts.WIDTH = wan(**changes), 128  # the width of the tiny network
    source = load(architecture)
    if file:
        source = in_place.named(source, file)
    try:
        model = ComfyModel(source, RandomClip(architecture.text), load_vae(architecture.vae))
    except UserError as error:
        return [type(error).__name__, str(error)]
    model.denoiser.sample_timesteps(timestep_sampling)
    return model.denoiser.sigmas.tolist()


def rewarded_expert():
    """The type and message of the error for a reward on one of Wan 2.2's experts."""
    experts.WIDTH = 128
    source = in_place.named(load(wan()), "wan2.2_t2v_low_noise_14B_fp16.safetensors")
    try:
        trainer_of(ComfyModel(source, RandomClip(wan().text), load_vae(wan().vae)), **in_place.REWARD)
    except UserError as error:
        return [type(error).__name__, str(error)]


def main():
    results = {}
    in_place.accept_tiny()
    with torch.inference_mode(False):
        results["bypass"] = train(bypassed(load(ARCHITECTURE)))
        results["hooks"] = train(load(ARCHITECTURE), HookedClip(ARCHITECTURE.text))
        results["VAE"] = train(load(ARCHITECTURE), vae=load_vae(KL))
        for part in ("encoder", "decoder"):
            results[f"nan from the {part}"] = train(load(ARCHITECTURE), vae=broken_vae(part))
        results["picture"] = train(load(flux(in_channels=32)), architecture=flux(in_channels=32))
        results["sound"] = train(sounding(load(ARCHITECTURE)))
        results["failing"] = train(failing(load(ARCHITECTURE)))
        results["nameless"] = train(nameless(load(ARCHITECTURE)))
        results["patch"] = train(overwriting(load(ARCHITECTURE)))
        results["asking"] = train(asking(load(ARCHITECTURE)))
        together, separate = rows(opened(patched(load(ARCHITECTURE))))
        plain, _ = rows(opened(load(ARCHITECTURE)))
        results["rows apart"] = in_place.apart(together, separate)
        results["patch changes"] = in_place.apart(together, plain)
        source = load(ARCHITECTURE)
        source.set_model_compute_dtype(torch.bfloat16)
        model = opened(source)
        model.prepare(None, "no", torch.device("cpu"))
        results["computes"] = str(model.patcher.get_model_object("manual_cast_dtype"))
        one, other, third = (
            opened(load(ARCHITECTURE), UnsetClip(ARCHITECTURE.text, **weights)).inputs()
            for weights in (
                {UNSET: torch.zeros(3), "other": torch.ones(3)},
                {UNSET: torch.full((3,), torch.nan), "other": torch.ones(3)},
                {UNSET: torch.zeros(3), "other": torch.zeros(3)},
            )
        )
        assert one == other
        high, low = "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors", "Wan2_2-T2V-A14B-LOW_fp8.safetensors"
        results["experts"] = {
            "high": wan_sigmas(high),
            "low": wan_sigmas(low),
            "high, uniform": wan_sigmas(high, "uniform"),
            "high, shifted": wan_sigmas(high, "shifted"),
            "low, shifted": wan_sigmas(low, "shifted"),
            "high, from image": wan_sigmas("wan2.2_i2v_high_noise_14B_fp16.safetensors", in_dim=36),
            "2.1": wan_sigmas("wan2.1_t2v_14B_low_vram.safetensors"),
            "unknown": wan_sigmas("my_flowing_wan.safetensors"),
            "both": wan_sigmas("wan2.2_high_and_low.safetensors"),
            "nameless": wan_sigmas(""),
        }
        results["rewarded expert"] = rewarded_expert()
        results["unset"] = [name for name in one if one[name] != third[name]]
    (Path(in_place.folder) / "unfit.json").write_text(json.dumps(results))


main()

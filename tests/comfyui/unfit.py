"""Runs inside ComfyUI's own Python: models, text encoders and VAEs that a graph has changed. Prints JSON to a file.

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
from architectures import KL, flux  # noqa: E402
from pack.nodes.in_place.model import UNSET  # noqa: E402
from pack.training.errors import UserError  # noqa: E402

ARCHITECTURE = ARCHITECTURES["Flux2"]()
LORA = {
    "diffusion_model.double_blocks.0.img_attn.proj.lora_A.weight": torch.ones(1, 128),
    "diffusion_model.double_blocks.0.img_attn.proj.lora_B.weight": torch.ones(128, 1),
}


class HookedClip(RandomClip):
    """As Set CLIP Hooks leaves it."""

    def encode_from_tokens_scheduled(self, prompt):
        return [[cond, extra | {"hooks": object()}] for cond, extra in super().encode_from_tokens_scheduled(prompt)]


class UnsetClip(RandomClip):
    """With a weight that its file has not, and so whatever was in that memory before."""

    def __init__(self, widths, **weights):
        super().__init__(widths)
        self.patcher = SimpleNamespace(model_state_dict=lambda prefix=None: weights, backup={}, patches={})


class Failing(torch.nn.Module):
    """Wants what only a sampler gives."""

    def forward(self, x):
        raise KeyError("sample_sigmas")


def said(source, clip=None, vae=None, architecture=ARCHITECTURE):
    """What two steps of training say."""
    vae = vae or load_vae(architecture.vae)
    trainer = None
    try:
        trainer = trainer_of(ComfyModel(source, clip or RandomClip(architecture.text), vae), train_batch_size=1)
        trainer.step()
        trainer.step()
    except UserError as error:
        return str(error)
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


def sounding(source):
    source.model.diffusion_model.audio_proj = torch.nn.Identity()
    return source


def asking(source):
    """Its conditioning goes through a layer that gets a LoRA."""
    plain, layer = source.model.extra_conds, source.model.diffusion_model.double_blocks[0].txt_attn.proj

    def extra_conds(**options):
        out = plain(**options)
        text = out["c_crossattn"].cond
        out["c_crossattn"] = comfy.conds.CONDRegular(text + layer(torch.ones(1, 1, 128))[..., : text.shape[-1]])
        return out

    source.model.extra_conds = extra_conds
    return source


def rows(model):
    """Predictions of three rows with noise levels of their own, together and each by itself."""
    trainer = trainer_of(model)
    core, batch = trainer.core, trainer.data.sample(0)
    x_t, sigmas, prompts = core.noised(batch.x_0, batch.noise, batch.t), core.sigmas[batch.t], batch.prompts
    with torch.no_grad(), model.stepping(in_place.SIDE):
        together = core.denoised(x_t, sigmas, prompts)
        each = [core.denoised(x_t[row : row + 1], sigmas[row : row + 1], [prompts[row]]) for row in range(len(prompts))]
    model.close()
    return together, torch.cat(each)


def overwriting(source):
    """By a patch, as FreeU_V2 does."""
    source.set_model_attn1_output_patch(lambda attention, options: attention.sigmoid().mul_(2))
    return source


def opened(source, clip=None):
    return ComfyModel(source, clip or RandomClip(ARCHITECTURE.text), load_vae(ARCHITECTURE.vae))


def patched(source):
    """By how much noise there is, as PatchModelAddDownscale asks for it."""

    def patch(arguments):
        level = arguments["transformer_options"]["sigmas"][0]
        return arguments | {"img": arguments["img"] * (1 + level)}

    source.set_model_post_input_patch(patch)
    return source


def main():
    found = {}
    in_place.accept_tiny()
    with torch.inference_mode(False):
        found["bypass"] = said(bypassed(load(ARCHITECTURE)))
        found["hooks"] = said(load(ARCHITECTURE), HookedClip(ARCHITECTURE.text))
        found["VAE"] = said(load(ARCHITECTURE), vae=load_vae(KL))
        found["picture"] = said(load(flux(in_channels=32)), architecture=flux(in_channels=32))
        found["sound"] = said(sounding(load(ARCHITECTURE)))
        found["failing"] = said(failing(load(ARCHITECTURE)))
        found["patch"] = said(overwriting(load(ARCHITECTURE)))
        found["asking"] = said(asking(load(ARCHITECTURE)))
        together, each = rows(opened(patched(load(ARCHITECTURE))))
        plain, _ = rows(opened(load(ARCHITECTURE)))
        found["rows apart"] = in_place.apart(together, each)
        found["patch changes"] = in_place.apart(together, plain)
        source = load(ARCHITECTURE)
        source.set_model_compute_dtype(torch.bfloat16)
        model = opened(source)
        model.prepare(None, "no", torch.device("cpu"))
        found["computes"] = str(model.patcher.get_model_object("manual_cast_dtype"))
        one, other, third = (
            opened(load(ARCHITECTURE), UnsetClip(ARCHITECTURE.text, **weights)).inputs()
            for weights in (
                {UNSET: torch.zeros(3), "other": torch.ones(3)},
                {UNSET: torch.full((3,), torch.nan), "other": torch.ones(3)},
                {UNSET: torch.zeros(3), "other": torch.zeros(3)},
            )
        )
        assert one == other
        found["unset"] = [name for name in one if one[name] != third[name]]
    (Path(in_place.folder) / "unfit.json").write_text(json.dumps(found))


main()

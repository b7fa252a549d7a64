"""Opening models from single files and diffusers folders."""

import json
import re
import sys
import types
from functools import partial

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from tests.tiny import tiny_checkpoint
from training.errors import DamagedFile, MissingFile, UnsupportedModel, UserError
from training.models.stable_diffusion.checkpoint import model_from_state_dict, open_model, open_tiny_vae
from training.models.stable_diffusion.families import FAMILIES, SD1, SD2, SDXL
from training.models.stable_diffusion.model import model_to_state_dict

EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def prediction(model):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        return model.denoiser(torch.randn(1, 4, 8, 8, generator=generator), torch.tensor([500]), ["photo of a child"])


@EVERY_FAMILY
@pytest.mark.parametrize("tiny_vae", [False, True])
def test_a_checkpoint_is_unchanged_after_opening_and_converting_back(family, tiny_vae):
    checkpoint = tiny_checkpoint(family, tiny_vae=tiny_vae)
    checkpoint["cond_stage_model.logit_scale"] = torch.tensor(4.6)
    model = model_from_state_dict(checkpoint, "tiny")
    again = model_to_state_dict(model)
    assert model.family is family
    assert again.keys() == checkpoint.keys()
    assert all(torch.equal(again[key], checkpoint[key]) for key in checkpoint)


ATTENTION = {".norm.": ".group_norm.", ".q.": ".to_q.", ".k.": ".to_k.", ".v.": ".to_v.", ".proj_out.": ".to_out.0."}
OLD_ATTENTION = {".q.": ".query.", ".k.": ".key.", ".v.": ".value.", ".proj_out.": ".proj_attn."}


def with_attention_named(names, checkpoint):
    """``checkpoint`` with other names in its VAE's attention, whose layers are linear in diffusers."""
    result = {}
    for key, value in checkpoint.items():
        if ".mid.attn_1." in key:
            for ours, theirs in names.items():
                key = key.replace(ours, theirs)
            value = value.flatten(1) if value.ndim == 4 else value
        result[key] = value
    return result


def with_diffusers_vae(checkpoint):
    """``checkpoint`` with its VAE in the keys of diffusers' own module."""
    vae = model_from_state_dict(checkpoint, "tiny").codec.vae
    others = {key: value for key, value in checkpoint.items() if not key.startswith("first_stage_model.")}
    return others | {f"first_stage_model.{key}": value for key, value in vae.state_dict().items()}


@pytest.mark.parametrize(
    "change",
    [partial(with_attention_named, ATTENTION), partial(with_attention_named, OLD_ATTENTION), with_diffusers_vae],
    ids=["attention", "old attention", "whole"],
)
def test_a_vae_with_diffusers_keys_opens_and_is_saved_with_the_usual_ones(change):
    checkpoint = tiny_checkpoint(SD1)
    changed = change(checkpoint)
    assert changed.keys() != checkpoint.keys()
    again = model_to_state_dict(model_from_state_dict(changed, "tiny"))
    assert again.keys() == checkpoint.keys()
    assert all(torch.equal(again[key], checkpoint[key]) for key in checkpoint)


class Trap:
    def __reduce__(self):
        return (print, ("code in the checkpoint ran",))


def test_a_ckpt_like_the_published_one_opens(tmp_path, monkeypatch):
    """It has weights under state_dict, EMA weights, and a trainer's callbacks with a custom class and numpy numbers."""
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    module.ModelCheckpoint = type("ModelCheckpoint", (), {"__module__": module.__name__})
    checkpoint = tiny_checkpoint(SD1)
    averaged = {"model_ema." + key.removeprefix("model.").replace(".", ""): value for key, value in checkpoint.items()}
    with monkeypatch.context() as patch:
        for name in ("pytorch_lightning", "pytorch_lightning.callbacks", module.__name__):
            patch.setitem(sys.modules, name, module)
        callbacks = {module.ModelCheckpoint: {"best_model_score": np.float64(0.5)}}
        state = {"epoch": 1, "state_dict": {**checkpoint, **averaged}, "callbacks": callbacks}
        torch.save(state, tmp_path / "sd-v1-4-full-ema.ckpt")
    model = open_model(tmp_path / "sd-v1-4-full-ema.ckpt")
    torch.testing.assert_close(prediction(model), prediction(model_from_state_dict(checkpoint, "tiny")))
    assert not any("model_ema" in key for key in model.unmapped)


def test_a_ckpt_with_code_is_rejected_without_running_it(tmp_path, capsys):
    torch.save({"state_dict": tiny_checkpoint(SD1), "callbacks": Trap()}, tmp_path / "trap.ckpt")
    with pytest.raises(UserError, match=r"trap\.ckpt"):
        open_model(tmp_path / "trap.ckpt")
    assert "code in the checkpoint ran" not in capsys.readouterr().out


@EVERY_FAMILY
def test_a_diffusers_folder_predicts_the_same_as_the_single_file(tmp_path, family):
    model = model_from_state_dict(tiny_checkpoint(family), "tiny")
    model.denoiser.unet.save_pretrained(tmp_path / "unet")
    model.codec.vae.save_pretrained(tmp_path / "vae")
    for folder, tower in zip(("text_encoder", "text_encoder_2"), model.denoiser.text.towers, strict=False):
        encoder_class = CLIPTextModelWithProjection if tower.spec.pooled else CLIPTextModel
        encoder = encoder_class(CLIPTextConfig(**tower.text_model.config.to_dict()))
        encoder.load_state_dict(in_transformers_keys(encoder, tower.state_dict()))
        encoder.save_pretrained(tmp_path / folder)
    (tmp_path / "scheduler").mkdir()
    settings = {"_class_name": "DDIMScheduler", "prediction_type": "v_prediction"}
    (tmp_path / "scheduler" / "scheduler_config.json").write_text(json.dumps(settings))
    opened = open_model(tmp_path)
    assert opened.family is family
    assert opened.denoiser.prediction_type == "v_prediction"
    torch.testing.assert_close(prediction(opened), prediction(model))
    assert not any(weight.requires_grad for weight in opened.denoiser.parameters())
    again = model_to_state_dict(opened)
    assert all(torch.equal(again[key], value) for key, value in tiny_checkpoint(family).items() if key in again)


def in_transformers_keys(encoder, state):
    if any(key.startswith("text_model.") for key in encoder.state_dict()):
        return state
    return {key.removeprefix("text_model."): value for key, value in state.items()}


def test_the_error_for_an_incomplete_folder_names_every_part_it_needs(tmp_path):
    with pytest.raises(MissingFile) as error:
        open_model(tmp_path)
    assert all(part in str(error.value) for part in (str(tmp_path), "unet", "vae", "text_encoder", "scheduler"))


def inpainting():
    checkpoint = tiny_checkpoint(SD1)
    key = "model.diffusion_model.input_blocks.0.0.weight"
    return checkpoint | {key: torch.zeros(32, 9, 3, 3)}


OTHER_MODELS = {  # by what the error must mention
    "Flux": {"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": torch.zeros(1)},
    "Stable Diffusion 3": {"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": torch.zeros(1)},
    "a LoRA": {"lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight": torch.zeros(1)},
    "the SDXL refiner": {"conditioner.embedders.0.model.ln_final.weight": torch.zeros(1)},
    "encoder.weight": {"encoder.weight": torch.zeros(1)},
    "9": None,
}


@pytest.mark.parametrize("hint", OTHER_MODELS)
def test_the_error_for_an_unsupported_model_says_what_it_is(tmp_path, hint):
    save_file(OTHER_MODELS[hint] or inpainting(), tmp_path / "model.safetensors")
    with pytest.raises(UnsupportedModel, match=rf"model\.safetensors.*\b{re.escape(hint)}\b"):
        open_model(tmp_path / "model.safetensors")


def test_missing_and_extra_layers_are_named():
    checkpoint = tiny_checkpoint(SD1)
    incomplete = {key: value for key, value in checkpoint.items() if "input_blocks.1.0.out_layers.3.bias" not in key}
    with pytest.raises(DamagedFile, match=r"UNet in tiny.*conv2\.bias"):
        model_from_state_dict(incomplete, "tiny")
    with_extra = checkpoint | {"model.diffusion_model.input_blocks.1.2.weight": torch.zeros(1)}
    with pytest.raises(UnsupportedModel, match=r"UNet in tiny.*Stable Diffusion 1\.x.*input_blocks\.1\.2\.weight"):
        model_from_state_dict(with_extra, "tiny")


def test_the_prediction_type_is_recognised_and_can_be_overridden():
    sdxl, sd2 = tiny_checkpoint(SDXL), tiny_checkpoint(SD2)
    assert model_from_state_dict(sdxl, "tiny").denoiser.prediction_type == "epsilon"
    assert model_from_state_dict(sdxl | {"v_pred": torch.tensor([])}, "tiny").denoiser.prediction_type == "v_prediction"
    assert model_from_state_dict(sd2, "tiny").denoiser.prediction_type == "epsilon"
    assert model_from_state_dict(sd2, "tiny", "v_prediction").denoiser.prediction_type == "v_prediction"


def test_sd2_has_resolution_768_for_v_and_512_for_epsilon():
    sd2 = tiny_checkpoint(SD2)
    assert model_from_state_dict(sd2, "tiny", "v_prediction").resolution == 768
    assert model_from_state_dict(sd2, "tiny").resolution == 512


def test_a_tiny_vae_opens_from_a_folder_a_file_and_taesds_files(tmp_path):
    torch.manual_seed(0)
    tiny = AutoencoderTiny()
    tiny.save_pretrained(tmp_path / "taesd")
    decoder = {key: value for key, value in tiny.state_dict().items() if key.startswith("decoder.layers.")}
    published = {}
    for key, value in decoder.items():  # TAESD's Sequential begins with a clamp without weights
        index, rest = key.removeprefix("decoder.layers.").split(".", 1)
        published[f"{int(index) + 1}.{rest}"] = value
    save_file(published, tmp_path / "taesd_decoder.safetensors")
    latents = torch.randn(1, 4, 4, 4)
    expected = tiny.decode(latents).sample
    for path in ("taesd", "taesd/diffusion_pytorch_model.safetensors", "taesd_decoder.safetensors"):
        torch.testing.assert_close(open_tiny_vae(tmp_path / path).decode(latents), expected)
    encoder = {key: value for key, value in tiny.state_dict().items() if key.startswith("encoder.layers.")}
    published = {key.removeprefix("encoder.layers."): value for key, value in encoder.items()}
    save_file(published, tmp_path / "taesd_encoder.safetensors")
    pixels = torch.rand(1, 3, 32, 32)
    both = open_tiny_vae(tmp_path)
    torch.testing.assert_close(both.encode(pixels)[0], tiny.encode(pixels).latents)
    torch.testing.assert_close(both.decode(latents), expected)


def test_other_files_are_not_a_tiny_vae(tmp_path):
    save_file({"decoder.weight": torch.zeros(1)}, tmp_path / "a.safetensors")
    with pytest.raises(DamagedFile, match=r"a\.safetensors"):
        open_tiny_vae(tmp_path / "a.safetensors")


@EVERY_FAMILY
def test_latents_have_the_scale_of_their_family(family):
    vae = model_from_state_dict(tiny_checkpoint(family), "tiny").codec
    pixels = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        mean, std = vae.encode(pixels)
        posterior = vae.vae.encode(pixels).latent_dist
        torch.testing.assert_close(mean, posterior.mean * family.latent_scale)
        torch.testing.assert_close(std, posterior.std * family.latent_scale)
        torch.testing.assert_close(vae.decode(mean), vae.vae.decode(posterior.mean).sample, atol=1e-4, rtol=1e-4)

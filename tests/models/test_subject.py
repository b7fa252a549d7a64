"""Subject files: saving, opening, and compatibility with diffusers. Also the sampler."""

import json
import re

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from tests.parts import FACE, SIDE, picture, tiny_model, tiny_trainer
from tests.tiny import tiny_checkpoint
from training.data.dataset import SubjectSet
from training.errors import DamagedFile, MissingInput, ModelMismatch
from training.models.interface import starting_noise
from training.models.stable_diffusion.checkpoint import model_from_state_dict
from training.models.stable_diffusion.families import FAMILIES, SD1
from training.models.stable_diffusion.lora import lora_state_dict, merge_lora
from training.models.stable_diffusion.model import model_to_state_dict
from training.models.stable_diffusion.open_subject import open_subject
from training.models.stable_diffusion.sampler import PRESETS, sample
from training.models.subject import HEADER, read_subject
from training.pictures.photos import Photo
from training.runs.files import write_subject
from training.weights import read_state_dict

EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def trained(folder, family=SD1, **options):
    """Trains a tiny model; returns it and the path of its subject file."""
    rate = 0.05 if options.get("method") != "full" else 1e-3
    options = {"learning_rate": rate, "max_train_steps": 3} | options
    trainer = tiny_trainer(tiny_model(family), **options)
    path = folder / "anna.safetensors"
    trainer.run()
    write_subject(trainer, path, torch.float32)
    return trainer.model, path


def prediction(model, prompt="photo of a sks person as old"):
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn(1, 4, SIDE // 8, SIDE // 8, generator=generator)
    model.denoiser.text.frozen_cache = None
    with torch.no_grad():
        return model.denoiser(latents, torch.tensor([400]), [prompt])


@EVERY_FAMILY
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_saved_subject_predicts_the_same_as_the_trained_model(tmp_path, family, method):
    model, path = trained(tmp_path, family, method=method, train_text_encoder=True)
    base = tmp_path / "base.safetensors"
    save(tiny_checkpoint(family), base)
    opened, subject = open_subject(path, base)
    torch.testing.assert_close(prediction(opened), prediction(model), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(prediction(opened), prediction(tiny_model(family)), atol=1e-2)
    assert (subject.family, subject.method) == (family.name, method)


def metadata(path):
    with safe_open(path, "pt") as file:
        return file.metadata()


def save(state, path):
    from safetensors.torch import save_file

    save_file(state, path)


@EVERY_FAMILY
def test_a_lora_opens_in_diffusers_and_predicts_the_same(tmp_path, family):
    import diffusers

    model, path = trained(tmp_path, family, lora_layers=("attention", "feed-forward", "convolution"), lora_alpha=8.0)
    fresh = tiny_model(family)
    mixin = diffusers.loaders.StableDiffusionXLLoraLoaderMixin
    if len(family.towers) == 1:
        mixin = diffusers.loaders.StableDiffusionLoraLoaderMixin
    state, alphas = mixin.lora_state_dict(str(path), unet_config=fresh.denoiser.unet.config)[:2]
    mixin.load_lora_into_unet(state, network_alphas=alphas, unet=fresh.denoiser.unet)
    torch.testing.assert_close(prediction(fresh), prediction(model), atol=1e-4, rtol=1e-4)


def test_a_text_encoder_lora_opens_in_diffusers(tmp_path):
    import diffusers
    from transformers import CLIPTextConfig, CLIPTextModel

    model, path = trained(tmp_path, train_text_encoder=True)
    tower = tiny_model().denoiser.text.towers[0]
    encoder = CLIPTextModel(CLIPTextConfig(**tower.text_model.config.to_dict()))
    inner = getattr(encoder, "text_model", encoder)
    inner.load_state_dict(tower.text_model.state_dict())
    mixin = diffusers.loaders.StableDiffusionLoraLoaderMixin
    state, alphas = mixin.lora_state_dict(str(path))[:2]
    mixin.load_lora_into_text_encoder(state, network_alphas=alphas, text_encoder=encoder)
    tokens = torch.tensor([[49406, 320, 1125, 49407]])
    ours = model.denoiser.text.towers[0].text_model(tokens).last_hidden_state
    untouched = tower.text_model(tokens).last_hidden_state
    theirs = encoder(tokens).last_hidden_state
    torch.testing.assert_close(theirs, ours, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(theirs, untouched, atol=1e-3)


@EVERY_FAMILY
def test_a_full_checkpoint_has_the_keys_of_its_base_model(tmp_path, family):
    _, path = trained(tmp_path, family, method="full", train_text_encoder=False)
    base, saved = tiny_checkpoint(family), load_file(path)
    assert saved.keys() == base.keys()
    changed = {key for key in base if not torch.equal(base[key], saved[key])}
    assert changed and all(key.startswith("model.diffusion_model.") for key in changed)


@EVERY_FAMILY
def test_a_full_checkpoint_opens_in_diffusers(tmp_path, family):
    """diffusers' converter reads the same UNet weights from our single file."""
    from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

    model, path = trained(tmp_path, family, method="full")
    unet = tiny_model(family).denoiser.unet
    unet.load_state_dict(convert_ldm_unet_checkpoint(load_file(path), unet.config))
    theirs, ours = unet.state_dict(), model.denoiser.unet.state_dict()
    assert all(torch.equal(theirs[key], ours[key]) for key in ours)


def test_strength_scales_the_change_of_the_weights(tmp_path):
    _model, path = trained(tmp_path)
    lora = read_state_dict(path)
    for strength in (0.0, 0.5, -1.0):
        fresh, base = tiny_model(), tiny_model()
        merge_lora(fresh.denoiser, lora, strength)
        name = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight"
        key = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
        change = lora[f"{key}.lora_up.weight"] @ lora[f"{key}.lora_down.weight"]
        before, after = base.denoiser.unet.get_parameter(name), fresh.denoiser.unet.get_parameter(name)
        torch.testing.assert_close(after, before + strength * change)


def test_a_new_lora_changes_no_prediction():
    trainer = tiny_trainer()
    torch.testing.assert_close(prediction(trainer.model), prediction(tiny_model()))
    assert all(not value.any() for key, value in lora_state_dict(trainer.core, 16).items() if "lora_up" in key)


def test_the_header_holds_the_settings_that_prompts_need(tmp_path):
    _, path = trained(tmp_path, token="ohwx", class_word="woman", loss="cosine", seed=9)
    header = metadata(path)
    subject = json.loads(header[HEADER])
    expected = {"token": "ohwx", "class_word": "woman", "loss": "cosine", "seed": 9, "steps": 3}
    assert {name: subject[name] for name in expected} == expected
    assert subject["base_model"] == "tiny.safetensors"
    assert subject["ages"] == ["child", "teenager", "youngadults", "middleaged", "elderly", "old"]
    assert header["modelspec.architecture"] == "stable-diffusion-v1/lora"
    assert header["modelspec.resolution"] == "64x64"
    assert read_subject(path).prompt(45) == "photo of a ohwx woman as 45-year-old"


@EVERY_FAMILY
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_header_names_the_architecture_as_sd_scripts_does(tmp_path, family, method):
    """As its library/sai_model_spec.py: determine_architecture and determine_implementation."""
    architecture = {
        "Stable Diffusion 1.x": "stable-diffusion-v1",
        "Stable Diffusion 2.x": "stable-diffusion-v2-512",  # the tiny one predicts epsilon
        "SDXL": "stable-diffusion-xl-v1-base",
    }[family.name]
    stability = "https://github.com/Stability-AI/generative-models"
    _, path = trained(tmp_path, family, method=method)
    header = metadata(path)
    assert header["modelspec.architecture"] == architecture + ("/lora" if method == "lora" else "")
    expected = "diffusers" if method == "lora" and family.name != "SDXL" else stability
    assert header["modelspec.implementation"] == expected
    assert any(key.startswith("ss_") for key in header) == (method == "lora")


def test_the_header_of_a_lora_has_the_entries_that_lora_managers_read(tmp_path):
    """As train_network.py of sd-scripts writes them, all as text."""
    _, path = trained(tmp_path, rank=4, lora_alpha=2.0, learning_rate=0.01, token="ohwx", class_word="woman")
    header = metadata(path)
    expected = {
        "ss_base_model_version": "sd_v1",
        "ss_v2": "False",
        "ss_network_module": "networks.lora",
        "ss_network_dim": "4",
        "ss_network_alpha": "2.0",
        "ss_steps": "3",
        "ss_learning_rate": "0.01",
        "ss_text_encoder_lr": "None",
        "ss_optimizer": "torch.optim.adamw.AdamW",
        "ss_resolution": "(64, 64)",
        "ss_num_train_images": "3",
        "ss_num_reg_images": "6",
        "ss_output_name": "anna",
    }
    assert {key: header[key] for key in expected} == expected
    assert json.loads(header["ss_tag_frequency"]) == {"1_ohwx woman": {"photo of a ohwx woman": 3}}


def test_the_header_has_no_captions_and_no_names_of_photos(tmp_path):
    photos = [Photo(f"Aunt Mary {n}.png", picture(n), age="old", caption="a person in Exeter, 1998") for n in range(2)]
    path = tmp_path / "anna.safetensors"
    trainer = tiny_trainer(subject=SubjectSet(photos, [FACE] * 2, []))
    write_subject(trainer, path, torch.float32)
    header = metadata(path)
    text = " ".join(header.values())
    assert json.loads(header["ss_tag_frequency"]) == {"1_sks person": {"photo of a sks person as old": 2}}
    assert not [word for word in ("Mary", "Exeter", "exeter", "1998", "regularization", str(tmp_path)) if word in text]


def test_a_lora_for_another_model_is_rejected(tmp_path):
    _, path = trained(tmp_path)
    base = tmp_path / "sdxl.safetensors"
    save(tiny_checkpoint(FAMILIES[2]), base)
    with pytest.raises(ModelMismatch, match=r"anna\.safetensors.* Stable Diffusion 1\.x.*sdxl\.safetensors.* SDXL"):
        open_subject(path, base)
    with pytest.raises(MissingInput, match=r"--checkpoint tiny\.safetensors"):
        open_subject(path, None)


def test_a_file_without_our_header_is_rejected(tmp_path):
    path = tmp_path / "other.safetensors"
    save({"weight": torch.zeros(1)}, path)
    with pytest.raises(DamagedFile, match=re.escape(str(path))):
        read_subject(path)


def test_all_prompts_start_from_the_same_noise_in_any_batch_size():
    model, noise = tiny_model(), starting_noise(tiny_model().codec, SIDE, seed=3)
    prompts = ["photo of a child", "photo of a child", "photo of a old"]
    first, same, other = sample(model.denoiser, model.codec, prompts, noise, PRESETS["fast"], batch_size=3)
    torch.testing.assert_close(first, same, atol=1e-4, rtol=0)
    assert not torch.allclose(first, other)
    one_by_one = sample(model.denoiser, model.codec, prompts, noise, PRESETS["fast"], batch_size=1)
    torch.testing.assert_close(one_by_one, torch.stack([first, same, other]), atol=1e-3, rtol=0)


@pytest.mark.parametrize("preset", PRESETS)
def test_the_sampler_matches_diffusers_pipeline(preset):
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, StableDiffusionPipeline

    model, noise = tiny_model(), starting_noise(tiny_model().codec, SIDE, seed=3)
    settings = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    if preset == "paper":
        scheduler = DDIMScheduler(clip_sample=False, set_alpha_to_one=False, **settings)
    else:
        scheduler = DPMSolverMultistepScheduler(**settings)
    pipeline = StableDiffusionPipeline(
        model.codec.vae, None, None, model.denoiser.unet, scheduler, None, None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    with torch.no_grad():
        text, empty = (model.denoiser.text([prompt]).hidden for prompt in ("photo of a old", ""))
    theirs = pipeline(
        prompt_embeds=text,
        negative_prompt_embeds=empty,
        latents=noise,
        num_inference_steps=PRESETS[preset].steps,
        guidance_scale=PRESETS[preset].guidance,
        output_type="pt",
    ).images
    ours = sample(model.denoiser, model.codec, ["photo of a old"], noise, PRESETS[preset])
    torch.testing.assert_close((ours + 1) / 2, theirs, atol=1e-3, rtol=0)


@EVERY_FAMILY
def test_a_trained_checkpoint_is_unchanged_after_opening_and_converting_back(tmp_path, family):
    _model, path = trained(tmp_path, family, method="full", train_text_encoder=True)
    again = model_to_state_dict(model_from_state_dict(load_file(path), "again"))
    saved = load_file(path)
    assert again.keys() == saved.keys()
    assert all(torch.equal(again[key], saved[key]) for key in saved)

"""Checkpoints that are incomplete, mislabelled or malicious: the error names what is wrong with each."""

import json
import os
import re
import shutil

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from tests.hostile.results import refused
from tests.tiny import tiny_checkpoint
from training.models.stable_diffusion.checkpoint import model_from_state_dict, open_model
from training.models.stable_diffusion.families import FAMILIES, SD1, SD2, SDXL
from training.weights import read_state_dict

UNET, VAE, CLIP = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."
NAME = "tiny.safetensors"
EMBEDDING = CLIP + "embeddings.token_embedding.weight"


@pytest.fixture(scope="module")
def whole():
    return {family: tiny_checkpoint(family) for family in FAMILIES}


def without(checkpoint, *marks):
    return {key: value for key, value in checkpoint.items() if not any(mark in key for mark in marks)}


LACKING = {  # the family, the keys that are removed, the part that is incomplete, and a key that the message names
    "VAE without encoder": (SD1, [VAE + "encoder."], "VAE", "encoder.down.0"),
    "VAE without decoder": (SD1, [VAE + "decoder."], "VAE", "decoder.conv_in.weight"),
    "no middle block": (SDXL, [UNET + "middle_block."], "UNet", "middle_block.1."),
    "no attention in the middle": (SDXL, [UNET + "middle_block.1."], "UNet", "middle_block.1."),
    "no up blocks": (SD1, [UNET + "output_blocks."], "UNet", "up_blocks."),
    "one block": (SD1, [UNET + f"input_blocks.{n}" for n in range(1, 9)], "UNet", "input_blocks.1."),
    "no token embedding": (SD1, ["token_embedding"], "text encoder", "token_embedding"),
    "no OpenCLIP embedding": (SD2, ["token_embedding"], "text encoder", "token_embedding"),
    "no final norm": (SD1, ["final_layer_norm"], "text encoder", "final_layer_norm."),
    "no first layer": (SD1, [CLIP + "encoder.layers.0."], "text encoder", "layers.0.mlp"),
    "no projection": (SDXL, ["text_projection"], "text encoder", "text_projection.weight"),
    "no size embedding": (SDXL, ["label_emb"], "UNet", "label_emb.0.0.weight"),
}


@pytest.mark.parametrize("case", LACKING)
def test_missing_weights_are_named(whole, case):
    family, removed, part, key = LACKING[case]
    with refused(NAME, part, key):
        model_from_state_dict(without(whole[family], *removed), NAME)


CHANGED = {  # a key, what is done to its tensor, and what the message names
    "cut vocabulary": (EMBEDDING, lambda value: value[:1000], ["text encoder", 1000, 49408]),
    "flat embedding": (
        EMBEDDING,
        lambda value: value.flatten(),
        ["text encoder", "token_embedding.weight", re.compile(r"\(\d+,\)")],
    ),
    "flat convolution": (
        UNET + "input_blocks.0.0.weight",
        lambda value: value.flatten(),
        ["UNet", "input_blocks.0.0.weight", "(1152,)"],
    ),
    "nothing": (UNET + "out.2.weight", lambda value: value[:0], ["UNet"]),
    "int8": (
        UNET + "out.2.weight",
        lambda value: value.to(torch.int8),
        ["UNet", "conv_out.weight", re.compile(r"\bint8\b"), "bfloat16"],
    ),
    "uint8": (VAE + "post_quant_conv.weight", lambda value: value.to(torch.uint8), ["VAE", "uint8"]),
    "complex": (
        CLIP + "final_layer_norm.bias",
        lambda value: value.to(torch.complex64),
        ["text encoder", "final_layer_norm.bias", "complex64"],
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_unusable_tensors_are_named(whole, case):
    key, change, values = CHANGED[case]
    with refused(NAME, *values):
        model_from_state_dict(whole[SD1] | {key: change(whole[SD1][key])}, NAME)


@pytest.mark.parametrize("prefix", [UNET + "out.2", VAE + "decoder.conv_in", CLIP + "encoder.layers.0.mlp.fc1"])
@pytest.mark.parametrize("scale", ["scale_weight", "weight_scale"])
def test_quantised_weights_are_recognised_by_their_scale(whole, prefix, scale):
    with refused(NAME, f"{prefix}.{scale}", "bf16", "fp16", "fp32"):
        model_from_state_dict(whole[SD1] | {f"{prefix}.{scale}": torch.ones(1)}, NAME)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2"])
def test_every_known_number_format_is_read(whole, dtype):
    key = UNET + "out.2.weight"
    stored = whole[SD1][key].to(getattr(torch, dtype))
    model = model_from_state_dict(whole[SD1] | {key: stored}, NAME)
    assert torch.equal(model.denoiser.unet.conv_out.weight, stored.float())


def clip_of(layers):
    """Weights with CLIP-L's width, for which the number of layers is known. All other sizes are minimal."""
    width, state = 768, {}
    for layer in range(layers):
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            state[f"encoder.layers.{layer}.self_attn.{name}.weight"] = (width, width)
            state[f"encoder.layers.{layer}.self_attn.{name}.bias"] = (width,)
        for name in ("layer_norm1", "layer_norm2"):
            state |= {f"encoder.layers.{layer}.{name}.{part}": (width,) for part in ("weight", "bias")}
        state |= {f"encoder.layers.{layer}.mlp.fc1.weight": (8, width), f"encoder.layers.{layer}.mlp.fc1.bias": (8,)}
        state |= {f"encoder.layers.{layer}.mlp.fc2.weight": (width, 8)}
        state |= {f"encoder.layers.{layer}.mlp.fc2.bias": (width,)}
    state |= {"embeddings.token_embedding.weight": (49408, width), "embeddings.position_embedding.weight": (77, width)}
    state |= {f"final_layer_norm.{part}": (width,) for part in ("weight", "bias")}
    return {CLIP + key: torch.zeros(1).expand(shape) for key, shape in state.items()}


def test_a_text_encoder_without_its_last_layers_is_incomplete(whole):
    rest = without(whole[SD1], CLIP)
    with refused(NAME, "text encoder", "layers.6."):
        model_from_state_dict(rest | clip_of(layers=6), NAME)


def test_the_format_is_recognised_by_content_and_not_by_suffix(tmp_path):
    state = {"a": torch.arange(3.0)}
    for name in ("a.sft", "a.ckpt", "a.safetensors", "a"):
        save_file(state, tmp_path / name)
        assert torch.equal(read_state_dict(tmp_path / name)["a"], state["a"])
    for zipped in (True, False):
        for name in ("b.safetensors", "b.pth"):
            torch.save({"state_dict": state}, tmp_path / name, _use_new_zipfile_serialization=zipped)
            assert torch.equal(read_state_dict(tmp_path / name)["a"], state["a"])


def test_a_safetensors_file_that_starts_like_a_pickle_is_read(tmp_path):
    """The first byte is the low byte of the header's length; 0x80 also starts a pickle."""
    for length in range(1, 300):
        save_file({"a": torch.arange(3.0)}, tmp_path / "a.ckpt", metadata={"filler": "x" * length})
        if (tmp_path / "a.ckpt").read_bytes()[0] == 0x80:
            break
    assert (tmp_path / "a.ckpt").read_bytes()[0] == 0x80
    assert torch.equal(read_state_dict(tmp_path / "a.ckpt")["a"], torch.arange(3.0))


def contains_itself():
    state = {"a": torch.zeros(1)}
    state["state_dict"] = state
    return state


def contains_itself_in_two():
    outer, inner = {}, {"a": torch.zeros(1)}
    outer["state_dict"], inner["state_dict"] = inner, outer
    return outer


@pytest.mark.parametrize("state", [contains_itself(), contains_itself_in_two()])
def test_a_state_dict_that_contains_itself_is_read(tmp_path, state):
    torch.save(state, tmp_path / "loop.ckpt")
    assert read_state_dict(tmp_path / "loop.ckpt").keys() == {"a"}


STRANGE = {  # what is saved, and what the message names besides the file
    "sparse": ({"conv.weight": torch.eye(3).to_sparse()}, ["conv.weight", "sparse"]),
    "compressed": ({"conv.weight": torch.eye(3).to_sparse_csr()}, ["conv.weight", "sparse"]),
    "meta": ({"conv.weight": torch.empty(3, device="meta")}, ["conv.weight", "meta"]),
    "quantised": (
        {"conv.weight": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)},
        ["conv.weight", re.compile("quanti[sz]ed")],
    ),
    "numbered": ({31: torch.zeros(1)}, [31]),
    "numbers": ({"conv.weight": 3}, []),
    "list": ([torch.zeros(1)], []),
    "one tensor": (torch.zeros(1), []),
}


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:.*quantize")
@pytest.mark.parametrize("case", STRANGE)
def test_pickles_without_plain_named_tensors_are_refused(tmp_path, case):
    state, values = STRANGE[case]
    torch.save(state, tmp_path / "strange.ckpt")
    with refused(tmp_path / "strange.ckpt", *values) as raised:
        read_state_dict(tmp_path / "strange.ckpt")
    assert raised.value.__cause__ is None, "the pickle itself can be read"


def test_pipes_folders_and_missing_files_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe.ckpt")
    for path in (tmp_path / "pipe.ckpt", tmp_path):
        with refused(path) as raised:
            read_state_dict(path)
        assert raised.value.__cause__ is None
    for path in (tmp_path / "none.ckpt", tmp_path / "pipe.ckpt" / "a.ckpt"):
        with refused(path) as raised:
            read_state_dict(path)
        assert isinstance(raised.value.__cause__, FileNotFoundError | NotADirectoryError)
    with refused("File name too long"):
        read_state_dict(tmp_path / ("a" * 300 + ".ckpt"))


def test_a_file_cut_at_any_place_is_damaged(tmp_path):
    state = {"a": torch.arange(64.0)}
    save_file(state, tmp_path / "whole.safetensors")
    torch.save(state, tmp_path / "whole.ckpt")
    for name in ("whole.safetensors", "whole.ckpt"):
        content = (tmp_path / name).read_bytes()
        for size in range(0, len(content), 29):
            (tmp_path / "cut").write_bytes(content[:size])
            with refused(tmp_path / "cut") as raised:
                read_state_dict(tmp_path / "cut")
            assert type(raised.value.__cause__).__name__ in str(raised.value), "the reason comes from the reader"


@pytest.fixture(scope="module")
def saved_folder(whole, tmp_path_factory):
    """An SD 1.x diffusers folder whose text encoder's keys are the ones of transformers."""
    path = tmp_path_factory.mktemp("folder") / "tiny-sd"
    model = model_from_state_dict(whole[SD1], NAME)
    model.denoiser.unet.save_pretrained(path / "unet")
    model.codec.vae.save_pretrained(path / "vae")
    (path / "text_encoder").mkdir()
    save_file(model.denoiser.text.towers[0].state_dict(), path / "text_encoder" / "model.safetensors")
    config = {"hidden_act": "quick_gelu", "num_attention_heads": 1}
    (path / "text_encoder" / "config.json").write_text(json.dumps(config))
    (path / "scheduler").mkdir()
    (path / "scheduler" / "scheduler_config.json").write_text(json.dumps({"_class_name": "PNDMScheduler"}))
    return path


@pytest.fixture
def folder(saved_folder, tmp_path):
    return shutil.copytree(saved_folder, tmp_path / "tiny-sd")


UNET_FILE = "unet/diffusion_pytorch_model.safetensors"


def as_variant(folder):
    for file in folder.glob("*/*model.safetensors"):
        half = {key: value.half() for key, value in load_file(file).items()}
        save_file(half, file.with_name(f"{file.stem}.fp16.safetensors"))
        file.unlink()


def as_shards(folder):
    weights = load_file(folder / UNET_FILE)
    for number in (0, 1):
        part = dict(list(weights.items())[number::2])
        save_file(part, folder / "unet" / f"diffusion_pytorch_model-0000{number + 1}-of-00002.safetensors")
    (folder / UNET_FILE).unlink()


def as_pickle(folder):
    torch.save(load_file(folder / UNET_FILE), folder / "unet" / "diffusion_pytorch_model.bin")
    (folder / UNET_FILE).unlink()


def beside_a_variant(folder):
    save_file({"other": torch.zeros(1)}, folder / "unet" / "diffusion_pytorch_model.non_ema.safetensors")


def with_old_names(folder):
    file = folder / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    for new, old in {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}.items():
        weights = {key.replace(f".{new}.", f".{old}."): value for key, value in weights.items()}
    assert any(".proj_attn." in key for key in weights)
    save_file(weights, file)


@pytest.mark.parametrize("change", [as_variant, as_shards, as_pickle, beside_a_variant, with_old_names])
def test_every_variant_of_a_diffusers_folder_holds_the_same_model(whole, folder, change):
    change(folder)
    opened, expected = open_model(folder), model_from_state_dict(whole[SD1], NAME)
    assert opened.name == "tiny-sd"
    assert opened.sha256 == expected.sha256
    for ours, theirs in ((opened.codec, expected.codec), (opened.denoiser.text, expected.denoiser.text)):
        for key, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[key], value, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("zero_snr", [False, True])
def test_training_uses_the_folders_own_betas(folder, zero_snr):
    settings = {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}
    settings |= {"prediction_type": "v_prediction", "rescale_betas_zero_snr": zero_snr}
    (folder / SCHEDULER).write_text(json.dumps(settings))
    alphas = (1 - torch.linspace(0.0001, 0.02, 1000, dtype=torch.float64)).cumprod(0)
    if zero_snr:  # Lin et al. 2023, algorithm 1: shifts the last root to 0 and keeps the first
        first, last = alphas[0].sqrt(), alphas[-1].sqrt()
        alphas = ((alphas.sqrt() - last) * first / (first - last)) ** 2
    signal = open_model(folder).denoiser.levels.signal
    torch.testing.assert_close(signal, alphas.sqrt().float(), atol=1e-4, rtol=1e-3)


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


def remove(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def drop_weight(folder):
    weights = load_file(folder / UNET_FILE)
    save_file(without(weights, "conv_out.bias"), folder / UNET_FILE)


SCHEDULER = "scheduler/scheduler_config.json"
FOLDERS = {  # what is done to the folder, and what the message names
    "no weights": (remove(UNET_FILE), ["unet", ".safetensors", ".bin"]),
    "no scheduler": (remove(SCHEDULER), [SCHEDULER, "unet", "vae", "text_encoder"]),
    "no VAE's settings": (remove("vae/config.json"), ["vae/config.json"]),
    "a weight short": (drop_weight, ["unet", "conv_out.bias"]),
    "flow": (
        write(SCHEDULER, '{"_class_name": "FlowMatchEulerDiscreteScheduler"}'),
        [re.compile(r"\bflow\b"), "epsilon", "v_prediction"],
    ),
    "EDM": (write(SCHEDULER, '{"_class_name": "EDMEulerScheduler"}'), ["EDMEulerScheduler", "timesteps"]),
    "own betas": (write(SCHEDULER, '{"trained_betas": [0.1]}'), ["trained_betas"]),
    "few timesteps": (write(SCHEDULER, '{"num_train_timesteps": 500}'), [500, 1000]),
    "noise without signal": (write(SCHEDULER, '{"rescale_betas_zero_snr": true}'), ["rescale_betas_zero_snr"]),
    "sample": (write(SCHEDULER, '{"prediction_type": "sample"}'), ["sample", "epsilon", "v_prediction"]),
    "no JSON": (write("unet/config.json", "{"), ["unet/config.json", "JSON"]),
    "a list": (write("unet/config.json", "[]"), ["unet/config.json"]),
    "other class": (
        write("unet/config.json", '{"_class_name": "UNet1DModel"}'),
        ["UNet1DModel", "UNet2DConditionModel"],
    ),
    "no class": (write("vae/config.json", "{}"), ["vae", "AutoencoderKL", "AutoencoderTiny"]),
    "impossible": (
        write("unet/config.json", '{"_class_name": "UNet2DConditionModel", "block_out_channels": ["a"]}'),
        ["unet"],
    ),
    "no file": (write(UNET_FILE, "<html>"), [UNET_FILE]),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_errors_about_a_folder_name_the_file_and_the_value(folder, case):
    change, values = FOLDERS[case]
    change(folder)
    with refused("tiny-sd", *values) as raised:
        open_model(folder)
    assert "huggingface" not in str(raised.value).lower(), "the message is ours and not the library's"
    cause = {"no JSON": ValueError, "impossible": ValueError, "no file": SafetensorError}.get(case, type(None))
    assert isinstance(raised.value.__cause__, cause)

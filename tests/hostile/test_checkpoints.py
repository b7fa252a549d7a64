"""Models that are not whole, not what their suffix says, or made to harm: a sentence names what is wrong with each."""

import json
import os
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.tiny import tiny_checkpoint
from training.errors import UserError
from training.models.stable_diffusion.checkpoint import model_from_state_dict, open_model
from training.models.stable_diffusion.families import FAMILIES, SD1, SD2, SDXL
from training.weights import read_state_dict

UNET, VAE, CLIP = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer.text_model."
EMBEDDING = CLIP + "embeddings.token_embedding.weight"


@pytest.fixture(scope="module")
def whole():
    return {family: tiny_checkpoint(family) for family in FAMILIES}


def without(checkpoint, *marks):
    return {key: value for key, value in checkpoint.items() if not any(mark in key for mark in marks)}


LACKING = {
    "VAE without encoder": (SD1, [VAE + "encoder."], r"VAE in m is incomplete: encoder\.down\.0"),
    "VAE without decoder": (SD1, [VAE + "decoder."], r"VAE in m is incomplete: decoder\.conv_in\.weight is missing"),
    "no middle block": (SDXL, [UNET + "middle_block."], r"UNet in m is incomplete: middle_block\.1\.\S+ is missing"),
    "no attention in the middle": (SDXL, [UNET + "middle_block.1."], r"UNet in m is incomplete: middle_block\.1\."),
    "no up blocks": (SD1, [UNET + "output_blocks."], r"UNet in m has an unknown layout: up_blocks\.\S+ is missing"),
    "one block": (SD1, [UNET + f"input_blocks.{n}" for n in range(1, 9)], r"input_blocks\.1\.\S+ is missing"),
    "no token embedding": (SD1, ["token_embedding"], r"text encoder in m is incomplete: \S+token_embedding"),
    "no OpenCLIP embedding": (SD2, ["token_embedding"], r"text encoder in m is incomplete: \S+token_embedding"),
    "no final norm": (SD1, ["final_layer_norm"], r"text encoder in m .*final_layer_norm\.\w+ is missing"),
    "no first layer": (SD1, [CLIP + "encoder.layers.0."], r"text encoder in m is incomplete: \S+layers\.0\.mlp"),
    "no projection": (SDXL, ["text_projection"], r"text encoder in m is incomplete: text_projection\.weight"),
    "no size embedding": (SDXL, ["label_emb"], r"UNet in m is incomplete: label_emb\.0\.0\.weight is missing"),
}


@pytest.mark.parametrize("case", LACKING)
def test_what_a_checkpoint_lacks_is_named(whole, case):
    family, marks, sentence = LACKING[case]
    with pytest.raises(UserError, match=sentence):
        model_from_state_dict(without(whole[family], *marks), "m")


CHANGED = {
    "cut vocabulary": (EMBEDDING, lambda value: value[:1000], "1000 of CLIP's 49408 tokens"),
    "flat embedding": (EMBEDDING, lambda value: value.flatten(), r"token_embedding\.weight has shape \(\d+,\)"),
    "flat convolution": (UNET + "input_blocks.0.0.weight", lambda value: value.flatten(), r"has shape \(1152,\)"),
    "nothing": (UNET + "out.2.weight", lambda value: value[:0], "UNet in m"),
    "int8": (UNET + "out.2.weight", lambda value: value.to(torch.int8), r"conv_out\.weight as int8.*bfloat16"),
    "uint8": (VAE + "post_quant_conv.weight", lambda value: value.to(torch.uint8), "VAE in m .* as uint8"),
    "complex": (
        CLIP + "final_layer_norm.bias",
        lambda value: value.to(torch.complex64),
        "bias as complex64",
    ),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_tensor_that_cannot_be_is_named(whole, case):
    key, change, sentence = CHANGED[case]
    with pytest.raises(UserError, match=sentence):
        model_from_state_dict(whole[SD1] | {key: change(whole[SD1][key])}, "m")


@pytest.mark.parametrize("prefix", [UNET + "out.2", VAE + "decoder.conv_in", CLIP + "encoder.layers.0.mlp.fc1"])
@pytest.mark.parametrize("scale", ["scale_weight", "weight_scale"])
def test_weights_that_wait_for_a_scale_are_quantised(whole, prefix, scale):
    with pytest.raises(UserError, match=f"m is quantised.*{prefix}.{scale}.*bf16"):
        model_from_state_dict(whole[SD1] | {f"{prefix}.{scale}": torch.ones(1)}, "m")


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "float8_e4m3fn", "float8_e5m2"])
def test_known_number_formats_are_read_as_their_numbers(whole, dtype):
    key = UNET + "out.2.weight"
    stored = whole[SD1][key].to(getattr(torch, dtype))
    model = model_from_state_dict(whole[SD1] | {key: stored}, "m")
    assert torch.equal(model.denoiser.unet.conv_out.weight, stored.float())


def clip_of(layers):
    """CLIP-L's width, in which the number of layers is known; the rest as small as may be."""
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


def test_half_a_text_encoder_is_no_shorter_one(whole):
    rest = without(whole[SD1], CLIP)
    with pytest.raises(UserError, match=r"text encoder in m .*layers\.6\.\S+ is missing"):
        model_from_state_dict(rest | clip_of(layers=6), "m")


def test_format_goes_by_content_and_not_by_suffix(tmp_path):
    state = {"a": torch.arange(3.0)}
    for name in ("a.sft", "a.ckpt", "a.safetensors", "a"):
        save_file(state, tmp_path / name)
        assert torch.equal(read_state_dict(tmp_path / name)["a"], state["a"])
    for zipped in (True, False):
        for name in ("b.safetensors", "b.pth"):
            torch.save({"state_dict": state}, tmp_path / name, _use_new_zipfile_serialization=zipped)
            assert torch.equal(read_state_dict(tmp_path / name)["a"], state["a"])


def test_a_header_of_128_bytes_more_than_a_multiple_is_no_pickle(tmp_path):
    """Such a safetensors file begins with the byte of a pickle."""
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
def test_a_state_dict_that_contains_itself_ends(tmp_path, state):
    torch.save(state, tmp_path / "loop.ckpt")
    assert read_state_dict(tmp_path / "loop.ckpt").keys() == {"a"}


STRANGE = {
    "sparse": ({"a": torch.eye(3).to_sparse()}, "a is a sparse tensor"),
    "compressed": ({"a": torch.eye(3).to_sparse_csr()}, "a is a sparse tensor"),
    "meta": ({"a": torch.empty(3, device="meta")}, "a is a meta tensor"),
    "quantised": ({"a": torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8)}, "a is a quantised tensor"),
    "numbered": ({0: torch.zeros(1)}, "named 0"),
    "numbers": ({"a": 3}, r"strange\.ckpt contains no weights"),
    "list": ([torch.zeros(1)], r"strange\.ckpt contains no weights"),
    "one tensor": (torch.zeros(1), r"strange\.ckpt contains no weights"),
}


@pytest.mark.filterwarnings("ignore:Sparse", "ignore:.*quantize")
@pytest.mark.parametrize("case", STRANGE)
def test_what_no_network_is_made_of_is_refused(tmp_path, case):
    state, sentence = STRANGE[case]
    torch.save(state, tmp_path / "strange.ckpt")
    with pytest.raises(UserError, match=sentence):
        read_state_dict(tmp_path / "strange.ckpt")


def test_what_is_no_file_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.ckpt")
    for path in (tmp_path / "pipe.ckpt", tmp_path):
        with pytest.raises(UserError, match=str(path)):
            read_state_dict(path)
    for path in (tmp_path / "none.ckpt", tmp_path / "pipe.ckpt" / "a.ckpt"):
        with pytest.raises(UserError, match="There is no file"):
            read_state_dict(path)
    with pytest.raises(UserError, match="cannot be opened: File name too long"):
        read_state_dict(tmp_path / ("a" * 300 + ".ckpt"))


def test_a_file_cut_anywhere_is_damaged(tmp_path):
    state = {"a": torch.arange(64.0)}
    save_file(state, tmp_path / "whole.safetensors")
    torch.save(state, tmp_path / "whole.ckpt")
    for name in ("whole.safetensors", "whole.ckpt"):
        content = (tmp_path / name).read_bytes()
        for size in range(0, len(content), 29):
            (tmp_path / "cut").write_bytes(content[:size])
            with pytest.raises(UserError, match="cut cannot be read as a model file"):
                read_state_dict(tmp_path / "cut")


@pytest.fixture(scope="module")
def saved_folder(whole, tmp_path_factory):
    """A diffusers folder of SD 1.x, as transformers names its text encoder's weights."""
    path = tmp_path_factory.mktemp("folder") / "tiny-sd"
    model = model_from_state_dict(whole[SD1], "m")
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
    opened, expected = open_model(folder), model_from_state_dict(whole[SD1], "m")
    assert opened.name == "tiny-sd"
    assert opened.sha256 == expected.sha256
    for ours, theirs in ((opened.codec, expected.codec), (opened.denoiser.text, expected.denoiser.text)):
        for key, value in theirs.state_dict().items():
            torch.testing.assert_close(ours.state_dict()[key], value, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("zero_snr", [False, True])
def test_a_folders_own_betas_are_trained_on(folder, zero_snr):
    settings = {"beta_schedule": "linear", "beta_start": 0.0001, "beta_end": 0.02}
    settings |= {"prediction_type": "v_prediction", "rescale_betas_zero_snr": zero_snr}
    (folder / SCHEDULER).write_text(json.dumps(settings))
    alphas = (1 - torch.linspace(0.0001, 0.02, 1000, dtype=torch.float64)).cumprod(0)
    if zero_snr:  # Lin et al. 2023, algorithm 1: the last root to 0, the first as it was
        first, last = alphas[0].sqrt(), alphas[-1].sqrt()
        alphas = ((alphas.sqrt() - last) * first / (first - last)) ** 2
    found = open_model(folder).denoiser.levels.signal
    torch.testing.assert_close(found, alphas.sqrt().float(), atol=1e-4, rtol=1e-3)


def write(name, text):
    return lambda folder: (folder / name).write_text(text)


def remove(*names):
    return lambda folder: [(folder / name).unlink() for name in names]


def drop_weight(folder):
    weights = load_file(folder / UNET_FILE)
    save_file(without(weights, "conv_out.bias"), folder / UNET_FILE)


SCHEDULER = "scheduler/scheduler_config.json"
FOLDERS = {
    "no weights": (remove(UNET_FILE), r"unet contains no weights"),
    "no scheduler": (remove(SCHEDULER), "has no scheduler/scheduler_config.json.*unet, vae, text_encoder"),
    "no VAE's settings": (remove("vae/config.json"), "has no vae/config.json"),
    "a weight short": (drop_weight, r"unet has an unknown layout: conv_out\.bias is missing"),
    "flow": (
        write(SCHEDULER, '{"_class_name": "FlowMatchEulerDiscreteScheduler"}'),
        "scheduler .*predicts flow.*epsilon",
    ),
    "EDM": (
        write(SCHEDULER, '{"_class_name": "EDMEulerScheduler"}'),
        "scheduler .*EDMEulerScheduler.*timesteps",
    ),
    "own betas": (write(SCHEDULER, '{"trained_betas": [0.1]}'), "scheduler .*trained_betas"),
    "few timesteps": (write(SCHEDULER, '{"num_train_timesteps": 500}'), "scheduler .*500 timesteps.*1000"),
    "noise without signal": (
        write(SCHEDULER, '{"rescale_betas_zero_snr": true}'),
        "scheduler .*rescale_betas_zero_snr",
    ),
    "sample": (write(SCHEDULER, '{"prediction_type": "sample"}'), "predicts sample; known are epsilon and v_predict"),
    "no JSON": (write("unet/config.json", "{"), r"config\.json is damaged"),
    "a list": (write("unet/config.json", "[]"), r"config\.json is damaged: it holds no settings"),
    "other class": (write("unet/config.json", '{"_class_name": "UNet1DModel"}'), "UNet1DModel; known is UNet2DCond"),
    "no class": (write("vae/config.json", "{}"), "holds a None; known is AutoencoderKL or AutoencoderTiny"),
    "impossible": (
        write("unet/config.json", '{"_class_name": "UNet2DConditionModel", "block_out_channels": ["a"]}'),
        "network in .*unet has a shape",
    ),
    "no file": (write(UNET_FILE, "<html>"), "cannot be read as a model file"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_what_is_wrong_with_a_folder_is_said_in_our_words(folder, case):
    change, sentence = FOLDERS[case]
    change(folder)
    with pytest.raises(UserError, match=sentence) as told:
        open_model(folder)
    assert "huggingface" not in str(told.value).lower()

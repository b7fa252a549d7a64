"""Tiny networks of many families, trained in place in the modules of a real ComfyUI."""

import json
import math
import signal
import subprocess
from statistics import NormalDist

import pytest
import torch
from safetensors.torch import save_file

from tests.comfyui.conftest import REPOSITORY
from tests.tiny import tiny_checkpoint
from training.models.stable_diffusion.checkpoint import open_model
from training.models.stable_diffusion.families import SD1, SD2, SDXL
from training.models.stable_diffusion.lora import merge_lora
from training.weights import read_state_dict

KILLED = -signal.SIGKILL
FAMILIES = {
    "SD1": SD1.name,
    "SD2, v": SD2.name,
    "SDXL": SDXL.name,
    "SDXL, zero terminal SNR": SDXL.name,
    "CosXL": SDXL.name,
    "EDM": SDXL.name,
    "Flux": "Flux",
    "FluxSchnell": "FluxSchnell",
    "Flux2": "Flux2",
    "Chroma": "Chroma",
    "SD3": "SD3",
    "QwenImage": "QwenImage",
    "Lumina2": "Lumina2",
    "ZImage": "ZImage",
    "WAN21_T2V": "WAN21_T2V",
    "Anima": "Anima",
    "ErnieImage": "ErnieImage",
    "Krea2": "Krea2",
    "Omnigen2": "Omnigen2",
}


def run_script(name, comfyui, python, folder, *arguments):
    """Runs the script ``name`` in ComfyUI's own Python and returns the JSON that it wrote to ``folder``."""
    script = REPOSITORY / f"tests/comfyui/{name}.py"
    subprocess.run([python, script, comfyui, REPOSITORY, folder, *arguments], check=True, cwd=comfyui)
    return json.loads((folder / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def results(comfyui, python, tmp_path_factory):
    """Measurements per family from one ComfyUI process."""
    folder = tmp_path_factory.mktemp("in_place")
    for name, family in (("sd1", SD1), ("sd2", SD2), ("sdxl", SDXL)):
        state = tiny_checkpoint(family, tiny_vae=True)
        save_file({key: value.contiguous() for key, value in state.items()}, folder / f"{name}.safetensors")
    return run_script("in_place", comfyui, python, folder) | {"folder": folder}


@pytest.fixture(params=FAMILIES)
def result(results, request):
    assert results[request.param]["family"] == FAMILIES[request.param]
    return results[request.param]


def test_it_trains_with_the_identity_loss(result):
    assert len(result["history"]) == 6
    assert any("biometric" in losses for losses in result["history"])


@pytest.mark.parametrize("name", ["SD1", "Flux", "WAN21_T2V"])
def test_the_reward_works_with_noise_flow_and_video_models(results, name):
    rewarded = [step for step, losses in enumerate(results[name]["history"], 1) if "reward identity" in losses]
    assert rewarded == [3, 6]
    first, last = (results[name]["history"][step - 1] for step in rewarded)
    assert first["no face"] == 0
    assert first["anchor"] < last["anchor"]  # starts at 0, since a new LoRA changes nothing


@pytest.mark.parametrize(("name", "factor"), [("SDXL", 8), ("Flux2", 16), ("QwenImage", 8)])
def test_photos_of_three_aspect_ratios_are_trained_in_three_shapes(results, name, factor):
    sides = [[128, 256], [192, 192], [256, 128]]
    assert results[name]["shapes"] == [[side // factor for side in pair] for pair in sides]
    assert results["SD1"]["shapes"] == [[8, 8]]


def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(result):
    assert result["same_run"]
    assert result["resumed"]


def test_the_predicted_clean_latents_match_the_equations(result):
    assert result["x_0"] < 1e-5
    assert result["prediction"] < 1e-3  # divided by c_out, which is small at low noise levels


def test_the_network_gets_what_comfyuis_own_sampler_feeds_it(result):
    """At guidance 1 for Flux dev, which is distilled; for all others without a guidance in the conditioning."""
    assert result["beside the sampler"] < 1e-5


def test_chroma_predicts_the_same_as_in_diffusers(results):
    assert results["Chroma"]["beside diffusers"] < 1e-5


def test_animas_text_adapter_runs_and_is_not_trained(results):
    assert results["Anima"]["text adapter ran"]
    assert results["Anima"]["text adapter's layers"] == []


def test_the_noise_levels_match_the_models_own(results):
    assert all(results[name]["own_sigmas"] for name in FAMILIES)
    assert results["SDXL, zero terminal SNR"]["sigma"][1] > 4000
    assert results["SDXL"]["sigma"][1] == pytest.approx(14.61, abs=0.01)
    assert results["CosXL"]["sigma"] == pytest.approx([0.002, 120.0], rel=1e-3)
    assert results["EDM"]["sigma"] == pytest.approx([0.002, 80.0], rel=1e-3)


def test_the_gradient_matches_finite_differences(result):
    assert result["slope"] < 0.1  # float32, and the loss contains absolute values


def test_gradient_checkpointing_changes_no_gradient(result):
    assert result["checkpointing"] < 1e-4


@pytest.mark.parametrize("name", ["Flux2", "SD3"])
def test_gradient_checkpointing_decodes_faces_in_less_memory(results, name):
    plain, checkpointed = results[name]["decoding"]
    assert checkpointed < 0.75 * plain


def test_switching_gradient_checkpointing_does_not_reload_the_weights(result):
    assert result["loads"] == 1


def test_the_native_loader_patches_every_layer_and_generates_the_same_image(result):
    assert result["patched"] == result["layers"] > 0
    assert result["lora_changes"] > 20 * result["native_picture"]
    assert result["native_picture"] < 1e-3


def test_a_subject_on_another_model_of_its_family_gets_a_warning(result):
    same, other = result["remarks"]
    assert same == ""
    assert "anna" in other and result["family"] in other


def test_the_file_contains_the_subjects_name(result):
    assert result["header"]["modelspec.title"] == "anna"


@pytest.mark.parametrize(
    ("name", "architecture", "base", "implementation"),
    [
        ("SD1", "stable-diffusion-v1", "sd_v1", "diffusers"),
        ("SD2, v", "stable-diffusion-v2-768-v", "sd_v2_v", "diffusers"),
        ("SDXL", "stable-diffusion-xl-v1-base", "sdxl_base_v1-0", "https://github.com/Stability-AI/generative-models"),
        ("Flux", "flux-1-dev", "flux1", "https://github.com/black-forest-labs/flux"),
        ("FluxSchnell", "flux-1-schnell", "flux1", "https://github.com/black-forest-labs/flux"),
        ("Chroma", "chroma", "chroma", "https://huggingface.co/lodestones/Chroma"),
        ("SD3", "stable-diffusion-3", "sd3", "diffusers"),
        ("Lumina2", "lumina-2", "lumina2", "https://github.com/Alpha-VLLM/Lumina-Image-2.0"),
        ("Anima", "anima-preview", "anima", "https://huggingface.co/circlestone-labs/Anima"),
        ("QwenImage", "Qwen-Image", "qwen_image", "https://github.com/QwenLM/Qwen-Image"),
        ("ZImage", "Z-Image", "z_image", "https://github.com/Tongyi-MAI/Z-Image"),
        ("WAN21_T2V", "wan2.1", "wan", "https://github.com/Wan-Video/Wan2.1"),
        ("Omnigen2", "omnigen2", "omnigen2", None),
    ],
)
def test_the_file_names_its_base_as_other_trainers_do(results, name, architecture, base, implementation):
    """sd-scripts; musubi-tuner for Qwen-Image, Z-Image and Wan. No trainer names an implementation for OmniGen 2."""
    header = results[name]["header"]
    assert header["modelspec.architecture"] == f"{architecture}/lora"
    assert header["ss_base_model_version"] == base
    assert header.get("modelspec.implementation") == implementation


def test_distilled_models_are_sampled_in_few_steps_without_guidance(results):
    samplers = {name: (results[name]["quick"]["steps"], results[name]["quick"]["guidance"]) for name in FAMILIES}
    assert samplers["FluxSchnell"] == (4, 1.0)
    assert samplers["Flux"] == (12, 1.0), "it takes guidance as an input"
    assert samplers["ZImage"] == (12, 4.0)
    assert samplers["SDXL"] == (8, 7.5)
    assert [(sampler["steps"], sampler["guidance"]) for sampler in results["Flux2"]["klein"]] == [(4, 1.0), (12, 4.0)]


def test_six_ages_form_one_batch_even_if_their_prompts_have_different_lengths(results):
    lengths, same = zip(*results["six ages"], strict=True)
    assert len(set(lengths)) > 1
    assert all(same)


def test_a_base_in_fp8_trains_and_stays_in_fp8(results):
    assert results["Flux"]["fp8_kept"] == ["torch.float8_e4m3fn"]
    assert results["Flux"]["fp8_cosine"] > 0.9


@pytest.mark.parametrize(
    ("number_format", "size"),
    [("float8_e4m3fn", 1), ("int8_tensorwise", 1), ("mxfp8", 1 + 1 / 32), ("nvfp4", 1 / 2 + 1 / 16), ("packed", 1)],
)
def test_a_quantised_base_has_the_same_gradient_as_in_float32_and_stays_small(results, number_format, size):
    measured = results["Flux"]["formats"][number_format]
    assert measured["cosine"] > 0.999
    assert measured["length"] == pytest.approx(1, abs=0.01)
    assert measured["bytes"] == {"packed": pytest.approx(size, rel=0.05), "float32": 4}


@pytest.mark.parametrize("number_format", ["float8_e4m3fn", "int8_tensorwise", "mxfp8", "nvfp4", "packed"])
def test_a_subject_of_a_quantised_base_loads_on_it_with_every_layer(results, number_format):
    measured = results["Flux"]["formats"][number_format]
    trained, patched = measured["layers"]
    assert trained == patched > 0
    same, other = measured["remarks"]
    assert same == ""
    assert "anna" in other


@pytest.mark.parametrize("number_format", ["float8_e4m3fn", "int8_tensorwise", "mxfp8", "nvfp4"])
def test_the_fingerprint_of_a_quantised_base_is_that_of_its_state_as_in_subjects_of_earlier_versions(
    results, number_format
):
    measured = results["Flux"]["formats"][number_format]
    assert measured["fingerprints"] == [measured["fingerprint of the state"]] * 2


@pytest.mark.parametrize(("name", "file"), [("SD1", "sd1"), ("SDXL", "sdxl")])
def test_the_command_line_loads_the_lora_and_computes_the_same_fingerprint(results, name, file):
    model = open_model(results["folder"] / f"{file}.safetensors")
    before = {key: value.clone() for key, value in model.denoiser.unet.state_dict().items()}
    assert model.fingerprint == results[name]["base"]
    merge_lora(model.denoiser, read_state_dict(results["folder"] / f"{name}.lora.safetensors"))
    after = model.denoiser.unet.state_dict()
    changed = [key for key, value in after.items() if not torch.equal(before[key], value)]
    assert len(changed) == results[name]["layers"]


def test_the_graphs_model_is_not_modified(result):
    assert result["untouched"], "its weights"
    assert result["clean"], "its modules"


@pytest.mark.slow
def test_a_run_that_is_killed_and_queued_again_ends_with_the_same_weights(comfyui, python, results):
    result = run_script("killed", comfyui, python, results["folder"], "SD1")
    assert result["SD1"] == {"ended": [0, KILLED, 0, KILLED, 0], "same": [True, True]}


@pytest.fixture(scope="module")
def autograd(comfyui, python, tmp_path_factory):
    """The errors for networks that break autograd, as [type, message]."""
    return run_script("autograd", comfyui, python, tmp_path_factory.mktemp("autograd"))


@pytest.mark.parametrize(
    ("change", "values"),
    [
        ("overwriting", ["double_blocks.0.img_mlp (", "one of the variables needed for gradient"]),
        ("detaching", ["double_blocks.0.img_mlp.1 "]),
    ],
)
def test_a_network_that_breaks_autograd_is_rejected_with_the_name_of_the_module(autograd, change, values):
    error_type, message = autograd[change]
    assert all(value in message for value in ["Flux2", *values]), message
    assert error_type == "UnsupportedModel"


@pytest.fixture(scope="module")
def unfit(comfyui, python, tmp_path_factory):
    """Results for models, text encoders and VAEs that a graph has changed; errors as [type, message]."""
    return run_script("unfit", comfyui, python, tmp_path_factory.mktemp("unfit"))


@pytest.mark.parametrize(
    ("change", "expected", "values"),
    [
        ("bypass", "UnsupportedModel", ["MODEL", "bypass"]),
        ("hooks", "UnsupportedModel", ["CLIP", "hooks"]),
        ("VAE", "ModelMismatch", ["VAE", "16", "Flux2", "128"]),
        ("nan from the encoder", "UnsupportedModel", ["VAE", "broken.safetensors", "0.png"]),
        ("nan from the decoder", "UnsupportedModel", ["VAE", "broken.safetensors", "0.png"]),
        ("picture", "UnsupportedModel", ["MODEL", "mask"]),
        ("sound", "UnsupportedModel", ["Flux2", "sound"]),
        ("patch", "UnsupportedModel", ["MODEL", "FreeU_V2"]),
        ("failing", "UnsupportedModel", ["KeyError: 'sample_sigmas'"]),
        ("nameless", "UnsupportedModel", ["Flux2", "5 of the 6"]),
    ],
)
def test_what_cannot_be_trained_is_rejected_before_any_step(unfit, change, expected, values):
    error_type, message = unfit[change]
    assert all(value in message for value in values), message
    assert error_type == expected


def noise_level(sigma, shift=1.0):
    """Before the sigmoid and the shift, where the noise levels of a flow are normally distributed."""
    return math.log(sigma / (1 - sigma) / shift)


@pytest.mark.parametrize(
    ("expert", "boundary", "shift"),
    [
        ("high", 0.875, 1),
        ("low", 0.875, 1),
        ("high, shifted", 0.875, 8),
        ("low, shifted", 0.875, 8),
        ("high, from image", 0.9, 1),
    ],
)
def test_an_expert_of_wan_trains_only_its_own_noise_levels(unfit, expert, boundary, shift):
    """As often as the whole model would: a normal distribution cut off at the boundary. 8 is the shift of Wan."""
    sigmas, normal = unfit["experts"][expert], NormalDist()
    below = normal.cdf(noise_level(boundary, shift))
    first, last = (below, 1) if "high" in expert else (0, below)
    assert all((sigma >= boundary) == ("high" in expert) for sigma in sigmas)
    quantiles = [normal.cdf(noise_level(sigma, shift)) for sigma in sigmas]
    expected = [first + (last - first) * (n + 0.5) / len(sigmas) for n in range(len(sigmas))]
    assert quantiles == pytest.approx(expected, abs=1e-5)


def test_an_expert_of_wan_trains_its_noise_levels_uniformly_if_asked(unfit):
    sigmas = unfit["experts"]["high, uniform"]
    assert sigmas == pytest.approx([0.875 + 0.125 * (n + 0.5) / 1000 for n in range(1000)], abs=1e-5)


def test_wan_2_1_trains_all_noise_levels(unfit):
    assert unfit["experts"]["2.1"][0] < 0.05 and unfit["experts"]["2.1"][-1] > 0.95


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("unknown", ["my_flowing_wan.safetensors"]),
        ("both", ["wan2.2_high_and_low.safetensors"]),
        ("nameless", ["MODEL"]),
    ],
)
def test_a_wan_that_may_be_either_expert_is_rejected_with_the_names_that_tell(unfit, file, values):
    error_type, message = unfit["experts"][file]
    assert error_type == "UnsupportedModel"
    assert all(value in message for value in [*values, "wan2.1", "high_noise", "low_noise"]), message


def test_an_expert_of_wan_is_not_trained_with_the_reward(unfit):
    error_type, message = unfit["rewarded expert"]
    assert error_type == "InvalidSetting"
    assert "reward_every" in message


def test_a_second_step_works_if_the_conditioning_uses_a_lora_layer(unfit):
    assert unfit["asking"] == "trained"


def test_a_patch_that_reads_the_noise_level_gets_the_level_of_each_row(unfit):
    assert unfit["rows apart"] < 1e-5 < 1e-2 < unfit["patch changes"]


def test_training_overrides_the_compute_type_that_a_graph_chose(unfit):
    assert unfit["computes"] == "torch.float32"


def test_uninitialised_weights_do_not_change_the_run_id(unfit):
    assert unfit["unset"] == ["text encoder"]

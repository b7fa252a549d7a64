"""Tiny networks of many families, trained in place in a real ComfyUI's modules."""

import json
import signal
import subprocess

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


def told(name, comfyui, python, folder, *arguments):
    """What the script ``name`` in a ComfyUI's own Python wrote into ``folder``."""
    script = REPOSITORY / f"tests/comfyui/{name}.py"
    subprocess.run([python, script, comfyui, REPOSITORY, folder, *arguments], check=True, cwd=comfyui)
    return json.loads((folder / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def results(comfyui, python, tmp_path_factory):
    """What one ComfyUI measured of every family."""
    folder = tmp_path_factory.mktemp("in_place")
    for name, family in (("sd1", SD1), ("sd2", SD2), ("sdxl", SDXL)):
        state = tiny_checkpoint(family, tiny_vae=True)
        save_file({key: value.contiguous() for key, value in state.items()}, folder / f"{name}.safetensors")
    return told("in_place", comfyui, python, folder) | {"folder": folder}


@pytest.fixture(params=FAMILIES)
def result(results, request):
    assert results[request.param]["family"] == FAMILIES[request.param]
    return results[request.param]


def test_it_trains_with_the_identity_loss(result):
    assert len(result["history"]) == 6
    assert any("biometric" in losses for losses in result["history"])


@pytest.mark.parametrize("name", ["SD1", "Flux", "WAN21_T2V"])
def test_the_reward_draws_with_noise_flows_and_frames(results, name):
    rewarded = [step for step, losses in enumerate(results[name]["history"], 1) if "reward identity" in losses]
    assert rewarded == [3, 6]
    first, last = (results[name]["history"][step - 1] for step in rewarded)
    assert first["no face"] == 0
    assert first["anchor"] < last["anchor"]  # which begins at nothing: a fresh LoRA is the base


@pytest.mark.parametrize(("name", "factor"), [("SDXL", 8), ("Flux2", 16), ("QwenImage", 8)])
def test_photos_of_three_aspect_ratios_are_trained_in_three_shapes(results, name, factor):
    sides = [[128, 256], [192, 192], [256, 128]]
    assert results[name]["shapes"] == [[side // factor for side in pair] for pair in sides]
    assert results["SD1"]["shapes"] == [[8, 8]]


def test_resumed_equals_uninterrupted_to_the_bit(result):
    assert result["same_run"]
    assert result["resumed"]


def test_the_predicted_clean_latents_are_those_of_the_equations(result):
    assert result["x_0"] < 1e-5
    assert result["prediction"] < 1e-3  # divided by c_out, which is small where there is little noise


def test_the_noise_levels_are_the_models_own(results):
    assert all(results[name]["own_sigmas"] for name in FAMILIES)
    assert results["SDXL, zero terminal SNR"]["sigma"][1] > 4000
    assert results["SDXL"]["sigma"][1] == pytest.approx(14.61, abs=0.01)
    assert results["CosXL"]["sigma"] == pytest.approx([0.002, 120.0], rel=1e-3)
    assert results["EDM"]["sigma"] == pytest.approx([0.002, 80.0], rel=1e-3)


def test_the_gradient_is_the_slope(result):
    assert result["slope"] < 0.1  # in float32, through absolute values


def test_gradient_checkpointing_changes_no_gradient(result):
    assert result["checkpointing"] < 1e-4


@pytest.mark.parametrize("name", ["Flux2", "SD3"])
def test_gradient_checkpointing_decodes_faces_in_less_memory(results, name):
    whole, checked = results[name]["decoding"]
    assert checked < 0.75 * whole


def test_gradient_checkpointing_is_switched_where_the_weights_are(result):
    assert result["loads"] == 1


def test_the_native_loader_patches_every_layer_and_draws_the_same(result):
    assert result["patched"] == result["layers"] > 0
    assert result["lora_changes"] > 20 * result["native_picture"]
    assert result["native_picture"] < 1e-3


def test_a_subject_on_another_model_of_its_family_says_so(result):
    same, other = result["remarks"]
    assert same == ""
    assert f"anna was trained on another {result['family']} model" in other


def test_a_file_has_the_subjects_name(result):
    assert result["title"] == "anna"


def test_distilled_models_are_drawn_in_their_few_steps_without_guidance(results):
    ways = {name: (results[name]["quick"]["steps"], results[name]["quick"]["guidance"]) for name in FAMILIES}
    assert ways["FluxSchnell"] == (4, 1.0)
    assert ways["Flux"] == (12, 1.0), "it reads its guidance"
    assert ways["ZImage"] == (12, 4.0)
    assert ways["SDXL"] == (8, 7.5)
    assert [(way["steps"], way["guidance"]) for way in results["Flux2"]["klein"]] == [(4, 1.0), (12, 4.0)]


def test_six_ages_are_one_batch_though_their_prompts_have_different_lengths(results):
    lengths, same = zip(*results["six ages"], strict=True)
    assert len(set(lengths)) > 1
    assert all(same)


def test_a_base_in_eight_bits_trains_and_stays_in_them(results):
    assert results["Flux"]["fp8_kept"] == ["torch.float8_e4m3fn"]
    assert results["Flux"]["fp8_cosine"] > 0.9


@pytest.mark.parametrize(
    ("kind", "size"),
    [("float8_e4m3fn", 1), ("int8_tensorwise", 1), ("mxfp8", 1 + 1 / 32), ("nvfp4", 1 / 2 + 1 / 16), ("packed", 1)],
)
def test_a_quantised_base_has_the_gradient_of_its_numbers_and_stays_as_small(results, kind, size):
    found = results["Flux"]["formats"][kind]
    assert found["cosine"] > 0.999
    assert found["length"] == pytest.approx(1, abs=0.01)
    assert found["bytes"] == {"packed": pytest.approx(size, rel=0.05), "float32": 4}


@pytest.mark.parametrize(("name", "file"), [("SD1", "sd1"), ("SDXL", "sdxl")])
def test_the_command_line_reads_the_file_and_knows_its_base(results, name, file):
    model = open_model(results["folder"] / f"{file}.safetensors")
    before = {key: value.clone() for key, value in model.denoiser.unet.state_dict().items()}
    assert model.fingerprint == results[name]["base"]
    merge_lora(model.denoiser, read_state_dict(results["folder"] / f"{name}.lora.safetensors"))
    after = model.denoiser.unet.state_dict()
    changed = [key for key, value in after.items() if not torch.equal(before[key], value)]
    assert len(changed) == results[name]["layers"]


def test_the_graphs_model_stays_as_it_is(result):
    assert result["untouched"], "its weights"
    assert result["clean"], "its modules"


@pytest.mark.slow
def test_killed_and_queued_again_a_run_ends_as_if_nobody_had(comfyui, python, results):
    found = told("killed", comfyui, python, results["folder"], "SD1")
    assert found["SD1"] == {"ended": [0, KILLED, 0, KILLED, 0], "same": [True, True]}


@pytest.fixture(scope="module")
def autograd(comfyui, python, tmp_path_factory):
    """What a ComfyUI said of networks that break autograd."""
    return told("autograd", comfyui, python, tmp_path_factory.mktemp("autograd"))


@pytest.mark.parametrize(
    ("broken", "sentence"),
    [
        ("overwriting", "the gradient breaks at double_blocks.0.img_mlp (one of the variables needed for gradient"),
        ("detaching", "double_blocks.0.img_mlp.1 "),
    ],
)
def test_a_network_that_breaks_autograd_is_refused_with_the_modules_name(autograd, broken, sentence):
    assert f"Flux2 cannot be trained in place: {sentence}" in autograd[broken]


@pytest.fixture(scope="module")
def unfit(comfyui, python, tmp_path_factory):
    """What a ComfyUI said of models, text encoders and VAEs that graphs have changed."""
    return told("unfit", comfyui, python, tmp_path_factory.mktemp("unfit"))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ("bypass", "LoRA in bypass mode"),
        ("hooks", "Set CLIP Hooks"),
        ("VAE", "The VAE has 16 latent channels, but Flux2 needs 128."),
        ("picture", "(inpainting, editing)"),
        ("sound", "Flux2 generates sound or 3D shapes"),
        ("patch", "FreeU_V2"),
        ("failing", "(KeyError: 'sample_"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_step(unfit, changed, sentence):
    assert sentence in unfit[changed]


def test_layers_that_conditioning_asks_for_break_no_second_step(unfit):
    assert unfit["asking"] == "trained"


def test_a_patch_that_asks_for_the_noise_level_gets_each_rows_own(unfit):
    assert unfit["rows apart"] < 1e-5 < 1e-2 < unfit["patch changes"]


def test_a_compute_type_that_a_graph_chose_gives_way_to_the_trainings(unfit):
    assert unfit["computes"] == "torch.float32"


def test_what_a_file_leaves_unset_does_not_name_the_run(unfit):
    assert unfit["unset"] == ["text encoder"]

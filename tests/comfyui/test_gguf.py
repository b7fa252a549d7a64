"""Tiny GGUF files, loaded by the real ComfyUI-GGUF, trained in place and used again.

Skipped unless ComfyUI-GGUF is in ComfyUI's custom_nodes or in the folder COMFYUI_GGUF_PATH, with its package gguf.
"""

import os
import subprocess
from pathlib import Path

import pytest
from safetensors.torch import save_file

from tests.comfyui.test_in_place import run_script
from tests.tiny import tiny_checkpoint
from training.models.stable_diffusion.families import SD1

FILES = [f"{network} {number_format}" for network in ("flux", "sd3") for number_format in ("Q8_0", "Q4_K")]


@pytest.fixture(scope="module")
def measured(comfyui, python, tmp_path_factory):
    """Measurements per file from one ComfyUI process; None if the pack is not installed."""
    folders = [os.environ.get("COMFYUI_GGUF_PATH"), *sorted(comfyui.glob("custom_nodes/*[Gg][Gg][Uu][Ff]*"))]
    pack = next((Path(path) for path in folders if path and (Path(path) / "dequant.py").is_file()), None)
    if pack is None or subprocess.run([python, "-c", "import gguf"], capture_output=True).returncode:
        return None
    folder = tmp_path_factory.mktemp("gguf")
    state = tiny_checkpoint(SD1, tiny_vae=True)
    save_file({key: value.contiguous() for key, value in state.items()}, folder / "sd1.safetensors")
    return run_script("gguf_pack", comfyui, python, folder, pack)


def of(file, measured):
    """The measurements of a file. Skips the test itself: COMFYUI_REQUIRED makes what a fixture skips fail."""
    if measured is None:
        pytest.skip("ComfyUI-GGUF or its package gguf is not installed.")
    return measured[file]


@pytest.mark.parametrize("file", FILES)
def test_a_gguf_file_trains_with_the_gradient_of_its_unpacked_numbers(measured, file):
    result = of(file, measured)
    assert result["steps"] == 6
    assert result["memory"]
    assert result["same run"], "the file opened twice"
    assert result["cosine"] > 0.999


@pytest.mark.parametrize("file", FILES)
def test_its_subject_loads_on_it_with_every_layer_and_generates_the_same_image(measured, file):
    result = of(file, measured)
    trained, patched = result["layers"]
    assert trained == patched > 0
    assert result["lora changes"] > 20 * result["image"]
    assert result["image"] < 1e-3


@pytest.mark.parametrize("file", FILES)
def test_only_another_file_gives_a_warning(measured, file):
    result = of(file, measured)
    same, other = result["remarks"]
    assert same == ""
    assert "anna" in other


def test_training_it_in_full_is_refused(measured):
    error_type, message = of("full", measured)
    assert error_type == "UnsupportedModel"
    assert "MODEL" in message and "GGUF" in message

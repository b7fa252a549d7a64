"""The copy of a model that is trained computes the same as the model in ComfyUI."""

import json
import subprocess

from safetensors.torch import save_file

from tests.comfyui.conftest import REPOSITORY
from tests.tiny import tiny_checkpoint
from training.models.stable_diffusion.families import SDXL


def run_inside(python, comfyui, checkpoint, folder, *options):
    subprocess.run(
        [python, REPOSITORY / "tests/comfyui/inside.py", comfyui, REPOSITORY, checkpoint, folder, *options],
        check=True,
        cwd=comfyui,
    )
    return json.loads((folder / "result.json").read_text())


def check(result, family):
    assert result["family"] == family
    assert result["epsilon"] < 2e-5
    assert result["weighted_epsilon"] < 2e-5 < 1e-3 < result["weights_change"]
    assert result["decoded"] < 2e-5
    assert result["untouched"], "the graph's MODEL and CLIP were modified"
    assert result["trainable"], "a weight belongs to inference mode"
    assert result["round_trip"] == []
    assert result["patched"] == result["lora_layers"] > 0
    assert result["lora_changes"] > 1e-2
    assert result["lora_epsilon"] < 2e-5
    assert result["patches_applied"] < 2e-5


def test_stable_diffusion_1(comfyui, python, base, tmp_path):
    check(
        run_inside(python, comfyui, base / "models/checkpoints/shallow.safetensors", tmp_path), "Stable Diffusion 1.x"
    )


def test_sdxl(comfyui, python, tmp_path):
    """Uses a tiny SDXL, since the real one needs too much memory."""
    state = tiny_checkpoint(SDXL, tiny_vae=True)
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "tiny.safetensors")
    check(run_inside(python, comfyui, tmp_path / "tiny.safetensors", tmp_path, "tiny-sdxl"), "SDXL")

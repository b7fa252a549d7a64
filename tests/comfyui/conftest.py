"""Finds a real ComfyUI, prepares a base directory with all files that the graphs name, and starts it.

Tests are skipped if ComfyUI or a Chromium is missing. With COMFYUI_REQUIRED=1 they fail instead, as in CI.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tools.server import Server

REPOSITORY = Path(__file__).parent.parent.parent
FOLDER_NAME = "any-folder name"  # the pack's folder may have any name
FACENET = "untrained.pt"  # a published name would be refused for its SHA-256
REQUIRED = os.environ.get("COMFYUI_REQUIRED") == "1"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Fails a test that a fixture skips, if COMFYUI_REQUIRED. A test may still skip itself on an old ComfyUI."""
    report = yield
    if REQUIRED and report.skipped and call.when == "setup":
        report.outcome, report.longrepr = "failed", f"COMFYUI_REQUIRED is set: {call.excinfo.value}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector):
    """Fails a file that skips itself for a missing package, if COMFYUI_REQUIRED."""
    report = yield
    if REQUIRED and report.skipped:
        report.outcome, report.longrepr = "failed", f"COMFYUI_REQUIRED is set: {report.longrepr[2]}"
    return report


def _find_comfyui() -> Path | None:
    folders = [os.environ.get("COMFYUI_PATH"), REPOSITORY.parent.parent, Path.home() / "comfy" / "ComfyUI"]
    return next((Path(path) for path in folders if path and (Path(path) / "comfyui_version.py").is_file()), None)


@pytest.fixture(scope="session")
def comfyui():
    """The folder of a real ComfyUI."""
    folder = _find_comfyui()
    if folder is None:
        pytest.skip("ComfyUI was not found. Set COMFYUI_PATH to its folder, or install it into ~/comfy/ComfyUI.")
    return folder


@pytest.fixture(scope="session")
def python(comfyui):
    """The Python executable that runs ComfyUI."""
    candidates = [comfyui / name / "bin" / "python" for name in (".venv", "venv")]
    python = next((path for path in candidates if path.is_file()), Path(sys.executable))
    imports = "import comfyui_frontend_package, torchsde, facenet_pytorch, diffusers, peft, accelerate, open_clip"
    if subprocess.run([python, "-c", imports], capture_output=True).returncode:
        pytest.skip(f"{python} lacks packages. Install the requirements.txt of ComfyUI and of this pack into it.")
    return python


def shallow_checkpoint() -> dict[str, torch.Tensor]:
    """Stable Diffusion 1.x with one UNet level and random weights. ComfyUI reads the depth from the keys."""
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig

    from training.models.stable_diffusion.families import SD1
    from training.models.stable_diffusion.model import tower_to_state_dict, unet_to_state_dict, vae_to_state_dict
    from training.models.stable_diffusion.text import new_tower

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        block_out_channels=(320,),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        cross_attention_dim=768,
    )
    vae = AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
    )
    text = CLIPTextConfig(
        vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
    )
    state = unet_to_state_dict(unet) | vae_to_state_dict(vae) | tower_to_state_dict(new_tower(text, SD1.towers[0]))
    return {key: value.half().contiguous() for key, value in state.items()}


@pytest.fixture(scope="session")
def base(tmp_path_factory, astronaut):
    """A base directory with the pack linked in, a checkpoint, untrained FaceNet weights, photos and an age set."""
    from facenet_pytorch import InceptionResnetV1
    from safetensors.torch import save_file

    base = tmp_path_factory.mktemp("comfyui")
    for folder in (
        "custom_nodes",
        "models/checkpoints",
        "models/facenet",
        "input/ages",
        "input/unknown",
        "input/empty",
        "input/broken",
        "input/photos",
        "input/pictures",
        "input/aged",
    ):
        (base / folder).mkdir(parents=True)
    (base / "custom_nodes" / FOLDER_NAME).symlink_to(REPOSITORY)
    (base / "custom_nodes/tiny_loaders.py").symlink_to(REPOSITORY / "tests/comfyui/tiny_loaders.py")
    save_file(shallow_checkpoint(), base / "models/checkpoints/shallow.safetensors")
    torch.manual_seed(0)
    torch.save(InceptionResnetV1().state_dict(), base / "models/facenet" / FACENET)
    for number, shift in enumerate((0, 12, 24)):
        photo = astronaut.crop((100 + shift, shift, 340 + shift, 240 + shift))
        for name in (f"photo{number}.png", f"photos/{number}.png", f"pictures/{number}.png", "example.png"):
            photo.save(base / "input" / name)
        photo.save(base / "input/aged" / ("34_garden.png", "child_2.png", "old.png")[number])
    for name, caption in (("34_garden", "in a garden"), ("old", "an old person")):
        (base / f"input/aged/{name}.txt").write_text(caption)
    Image.linear_gradient("L").resize((240, 240)).save(base / "input/aged/old-mask.png")
    random = np.random.default_rng(0)
    noise = [Image.fromarray(random.integers(0, 256, (64, 64, 3), dtype=np.uint8)) for _ in range(4)]
    noise[0].save(base / "input/faceless.png")
    for name, picture in zip(("child_1", "elderly_1", "old_1"), noise[1:], strict=True):
        picture.save(base / f"input/ages/{name}.png")
    noise[0].save(base / "input/unknown/img_0001.png")
    (base / "input/broken/cut.png").write_bytes((base / "input/photo0.png").read_bytes()[:100])
    return base


@pytest.fixture(scope="session")
def server(comfyui, python, base):
    """A server shared by all tests that leave it unchanged."""
    running = Server(python, comfyui, base)
    yield running
    running.stop()

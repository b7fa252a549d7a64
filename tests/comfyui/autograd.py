"""Runs in ComfyUI's own Python: tries to train networks that break autograd. Writes JSON to a file.

usage: python autograd.py COMFYUI REPOSITORY FOLDER
"""

import json
import sys
from pathlib import Path

import in_place
import torch
from in_place import ARCHITECTURES, ComfyModel, RandomClip, load, load_vae, trainer_of

sys.argv = [sys.argv[0], "--cpu"]
from pack.training.errors import UserError  # noqa: E402

ARCHITECTURE = ARCHITECTURES["Flux2"]()


class Overwriting(torch.nn.Module):
    """Changes a tensor in place that the backward pass needs."""

    def forward(self, x):
        return x.sigmoid().add_(1)


class Detaching(torch.nn.Module):
    """Cuts the gradient."""

    def forward(self, x):
        return x.detach()


def train_step(source):
    """Runs one training step and returns its losses."""
    trainer = trainer_of(ComfyModel(source, RandomClip(ARCHITECTURE.text), load_vae(ARCHITECTURE.vae)))
    try:
        return trainer.step()
    finally:
        trainer.model.close()


def error_with(module):
    """Trains a network with ``module`` after its first feed-forward layers. Returns the error's type and message."""
    source = load(ARCHITECTURE)
    block = source.model.diffusion_model.double_blocks[0]
    block.img_mlp = torch.nn.Sequential(block.img_mlp, module)
    try:
        train_step(source)
    except UserError as error:
        return [type(error).__name__, str(error)]
    return ["", "trained"]


def main():
    in_place.accept_tiny()
    with torch.inference_mode(False):
        results = {
            "overwriting": error_with(Overwriting()),
            "detaching": error_with(Detaching()),
        }
    (Path(in_place.folder) / "autograd.json").write_text(json.dumps(results))


main()

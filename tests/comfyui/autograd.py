"""Runs inside ComfyUI's own Python: networks that break autograd. Prints JSON to a file.

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
    """Keeps its result for the backward pass, and then changes it."""

    def forward(self, x):
        return x.sigmoid().add_(1)


class Detaching(torch.nn.Module):
    """Hands on the numbers without their history."""

    def forward(self, x):
        return x.detach()


def trained(source):
    """The losses of one step."""
    trainer = trainer_of(ComfyModel(source, RandomClip(ARCHITECTURE.text), load_vae(ARCHITECTURE.vae)))
    try:
        return trainer.step()
    finally:
        trainer.model.close()


def refused(module):
    """What a training says of a network that has ``module`` behind its first block's feed-forward layers."""
    source = load(ARCHITECTURE)
    block = source.model.diffusion_model.double_blocks[0]
    block.img_mlp = torch.nn.Sequential(block.img_mlp, module)
    try:
        trained(source)
    except UserError as error:
        return str(error)
    return "trained"


def main():
    in_place.accept_tiny()
    with torch.inference_mode(False):
        found = {
            "overwriting": refused(Overwriting()),
            "detaching": refused(Detaching()),
        }
    (Path(in_place.folder) / "autograd.json").write_text(json.dumps(found))


main()

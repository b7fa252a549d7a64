"""Exports the trained weights as the file that ships with the project, and as a checkpoint."""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file

from training.files import written
from training.models.interface import StateDict
from training.models.stable_diffusion.model import unet_to_state_dict, vae_to_state_dict
from training.weights import read_pickle
from training.world.captions import SPREAD
from training.world.model import checkpoint

from .autoencoder import Autoencoder
from .base import BaseModel
from .loop import FOLDER


def learned(folder: Path) -> StateDict:
    """Returns the averaged weights of the training runs in ``folder`` in fp16: UNet, autoencoder and tokens."""
    module, autoencoder = BaseModel(), Autoencoder()
    module.load_state_dict(read_pickle(folder / "base.pt")["average"])
    autoencoder.load_state_dict(read_pickle(folder / "autoencoder.pt")["average"])
    state = unet_to_state_dict(module.unet) | vae_to_state_dict(autoencoder.vae)
    state |= {"words.embeddings": module.words.embeddings.detach() * SPREAD, "words.positions": module.words.positions}
    state = {key: value.half().contiguous() for key, value in state.items()}
    return state | {"words.ids": torch.tensor(module.words.ids)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes the weights of a training run, finished or not.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the training run")
    parser.add_argument("--weights", type=Path, help="output file that ships with the project")
    parser.add_argument("--checkpoint", type=Path, help="output checkpoint for ComfyUI or the generate command")
    options = parser.parse_args()
    weights = learned(options.folder)
    for file, state in ((options.weights, weights), (options.checkpoint, checkpoint(weights))):
        if file:
            with written(file) as temporary:
                save_file(state, temporary)

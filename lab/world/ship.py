"""What the training runs have learned, as the file that comes with the project and as a checkpoint to look at."""

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
    """What the training runs in ``folder`` have learned so far, averaged, fp16: UNet, autoencoder and tokens."""
    module, autoencoder = BaseModel(), Autoencoder()
    module.load_state_dict(read_pickle(folder / "base.pt")["average"])
    autoencoder.load_state_dict(read_pickle(folder / "autoencoder.pt")["average"])
    state = unet_to_state_dict(module.unet) | vae_to_state_dict(autoencoder.vae)
    state |= {"words.embeddings": module.words.embeddings.detach() * SPREAD, "words.positions": module.words.positions}
    state = {key: value.half().contiguous() for key, value in state.items()}
    return state | {"words.ids": torch.tensor(module.words.ids)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes what a training run has learned so far.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the training run")
    parser.add_argument("--weights", type=Path, help="the file to ship")
    parser.add_argument("--checkpoint", type=Path, help="the file to open in ComfyUI or with generate")
    options = parser.parse_args()
    found = learned(options.folder)
    for file, state in ((options.weights, found), (options.checkpoint, checkpoint(found))):
        if file:
            with written(file) as temporary:
                save_file(state, temporary)

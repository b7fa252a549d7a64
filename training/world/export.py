"""The world's base model as a Stable Diffusion 1.x checkpoint: what was learned, and everything else written out."""

import argparse
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from .. import layout
from ..checkpoint import Model, model_from_state_dict, unet_to_state_dict, vae_to_state_dict
from ..families import CONTEXT_LENGTH, END_OF_TEXT, SD1
from ..files import read_pickle, written
from ..layout import StateDict
from .autoencoder import FOLDER, Autoencoder
from .base import BaseModel
from .captions import SPREAD, TEXT_WIDTH, filler
from .shipped import shipped

BASE = "base.safetensors"
LAYERS, HIDDEN = 12, 3072  # of CLIP-L


def learned(folder: Path) -> StateDict:
    """What the training runs in ``folder`` have learned so far, averaged, fp16: UNet, autoencoder and tokens."""
    module, autoencoder = BaseModel(), Autoencoder()
    module.load_state_dict(read_pickle(folder / "base.pt")["average"])
    autoencoder.load_state_dict(read_pickle(folder / "autoencoder.pt")["average"])
    state = unet_to_state_dict(module.unet) | vae_to_state_dict(autoencoder.vae)
    state |= {"words.embeddings": module.words.embeddings.detach() * SPREAD, "words.positions": module.words.positions}
    state = {key: value.half().contiguous() for key, value in state.items()}
    return state | {"words.ids": torch.tensor(module.words.ids)}


def checkpoint(weights: StateDict) -> StateDict:
    """A single-file state dict, fp16, of what ``learned`` returned; the same tensors on every machine."""
    state = {key: value for key, value in weights.items() if not key.startswith("words.")}
    # ComfyUI's TAESD reads latents before the family's scale.
    state[layout.VAE_PREFIX + "vae_scale"] = torch.tensor(SD1.latent_scale)
    tokens = filler(list(range(END_OF_TEXT + 1))).half()
    tokens[weights["words.ids"]] = weights["words.embeddings"].half()
    return state | layout.clip_to_checkpoint(_clip(tokens, weights["words.positions"]), SD1.towers[0].prefix)


def _clip(tokens: Tensor, positions: Tensor) -> StateDict:
    """CLIP-L with twelve layers of zeros, which pass on what they are given."""
    zeros = torch.zeros
    state = {
        "embeddings.token_embedding.weight": tokens,
        "embeddings.position_embedding.weight": positions.reshape(CONTEXT_LENGTH, TEXT_WIDTH),
        "final_layer_norm.weight": torch.ones(TEXT_WIDTH),
        "final_layer_norm.bias": zeros(TEXT_WIDTH),
    }
    shapes = {f"self_attn.{part}_proj": (TEXT_WIDTH, TEXT_WIDTH) for part in ("q", "k", "v", "out")}
    shapes |= {"mlp.fc1": (HIDDEN, TEXT_WIDTH), "mlp.fc2": (TEXT_WIDTH, HIDDEN)}
    shapes |= {"layer_norm1": (TEXT_WIDTH,), "layer_norm2": (TEXT_WIDTH,)}
    for layer in range(LAYERS):
        for name, shape in shapes.items():
            state[f"encoder.layers.{layer}.{name}.weight"] = zeros(shape)
            state[f"encoder.layers.{layer}.{name}.bias"] = zeros(shape[0])
    return {key: value.half() for key, value in state.items()}


def base_model() -> Model:
    """The shipped base model, opened as any checkpoint is. Raises UserError; see shipped."""
    return model_from_state_dict(checkpoint(shipped(BASE)), "the world's base model")


def export(file: Path) -> None:
    """Writes the shipped base model as a checkpoint. Raises UserError; see shipped."""
    with written(file) as temporary:
        save_file(checkpoint(shipped(BASE)), temporary)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes what a training run has learned so far.")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="of the training run")
    parser.add_argument("--weights", type=Path, help="the file to ship")
    parser.add_argument("--checkpoint", type=Path, help="the file to open in ComfyUI or with generate")
    options = parser.parse_args()
    found = learned(options.folder)
    if options.weights:
        save_file(found, options.weights)
    if options.checkpoint:
        save_file(checkpoint(found), options.checkpoint)

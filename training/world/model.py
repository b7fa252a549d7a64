"""Builds a Stable Diffusion 1.x checkpoint from the weights of the world's base model."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from ..files import written
from ..models.interface import StateDict
from ..models.stable_diffusion import keys
from ..models.stable_diffusion.checkpoint import model_from_state_dict
from ..models.stable_diffusion.families import CONTEXT_LENGTH, END_OF_TEXT, SD1
from ..models.stable_diffusion.model import Model
from ..models.subject import VERSION
from .captions import TEXT_WIDTH, filler
from .shipped import shipped

BASE = "base.safetensors"
LAYERS, HIDDEN = 12, 3072  # of CLIP-L


def checkpoint(weights: StateDict) -> StateDict:
    """Returns a single-file fp16 state dict with ``weights`` from lab.world.ship.learned; equal on every machine."""
    state = {key: value for key, value in weights.items() if not key.startswith("words.")}
    # ComfyUI's TAESD expects latents without the family's scale.
    state[keys.VAE_PREFIX + "vae_scale"] = torch.tensor(SD1.latent_scale)
    tokens = filler(list(range(END_OF_TEXT + 1))).half()
    tokens[weights["words.ids"]] = weights["words.embeddings"].half()
    return state | keys.clip_to_checkpoint(_clip(tokens, weights["words.positions"]), SD1.towers[0].prefix)


def _clip(tokens: Tensor, positions: Tensor) -> StateDict:
    """CLIP-L with twelve layers of zero weights, which leave their input unchanged."""
    zeros = torch.zeros
    state = {
        "embeddings.token_embedding.weight": tokens,
        "embeddings.position_embedding.weight": positions.reshape(CONTEXT_LENGTH, TEXT_WIDTH),
        "final_layer_norm.weight": torch.ones(TEXT_WIDTH),
        "final_layer_norm.bias": zeros(TEXT_WIDTH),
    }
    shapes: dict[str, tuple[int, ...]] = {
        f"self_attn.{part}_proj": (TEXT_WIDTH, TEXT_WIDTH) for part in ("q", "k", "v", "out")
    }
    shapes |= {"mlp.fc1": (HIDDEN, TEXT_WIDTH), "mlp.fc2": (TEXT_WIDTH, HIDDEN)}
    shapes |= {"layer_norm1": (TEXT_WIDTH,), "layer_norm2": (TEXT_WIDTH,)}
    for layer in range(LAYERS):
        for name, shape in shapes.items():
            state[f"encoder.layers.{layer}.{name}.weight"] = zeros(shape)
            state[f"encoder.layers.{layer}.{name}.bias"] = zeros(shape[0])
    return {key: value.half() for key, value in state.items()}


def base_checkpoint() -> StateDict:
    """Returns the shipped base model as a single-file fp16 state dict. Raises UserError; see shipped."""
    return checkpoint(shipped(BASE))


def base_model() -> Model:
    """Opens the shipped base model like any other checkpoint. Raises UserError; see shipped."""
    return model_from_state_dict(base_checkpoint(), "the world's base model")


def export(file: Path) -> None:
    """Writes the shipped base model to ``file`` as a checkpoint. Raises UserError; see shipped."""
    with written(file) as temporary:
        save_file(base_checkpoint(), temporary, metadata={"identity_aging_world": VERSION})

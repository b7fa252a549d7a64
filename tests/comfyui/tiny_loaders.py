"""Nodes of the tests alone, in the place of ComfyUI's loaders: tiny random networks of the family that is named."""

import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import folder_paths
import numpy as np
import torch
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parent))
from architectures import ARCHITECTURES, load, load_vae

FAMILIES = {"flux": "Flux2", "z_im": "ZImage", "ae.s": "ZImage", "lumi": "ZImage"}  # by how a file, or a type, begins
NOTHING = "<pad>"


def architecture(name: str):
    return ARCHITECTURES[FAMILIES[name[:4]]]()


class RandomWords:
    """A CLIP that gives each word a vector of its own."""

    layer_idx = None
    cond_stage_model = torch.nn.Module()
    patcher = SimpleNamespace(model_state_dict=lambda prefix=None: {}, patches={})

    def __init__(self, width: int, shortest: int = 1):
        self.width, self.shortest = width, shortest

    def clone(self):
        return RandomWords(self.width, self.shortest)

    def add_patches(self, patches: dict, strength: float) -> list:
        return []

    def set_tokenizer_option(self, name: str, value: int) -> None:
        self.shortest = value

    def tokenize(self, prompt: str, **options) -> dict:
        words = prompt.split()
        return {"words": [[(word, 1.0) for word in words + [NOTHING] * (self.shortest - len(words))]]}

    def encode_from_tokens(self, tokens: dict, return_dict: bool = False) -> dict:
        words = [word for word, _ in tokens["words"][0]]
        seeds = (torch.Generator().manual_seed(zlib.crc32(word.encode())) for word in words)
        vectors = torch.stack([torch.randn(self.width, generator=seed) for seed in seeds])
        mask = torch.tensor([[word != NOTHING for word in words]]).long()
        return {"cond": vectors[None], "pooled_output": None, "attention_mask": mask}

    def encode_from_tokens_scheduled(self, tokens: dict, **options) -> list:
        encoded = self.encode_from_tokens(tokens)
        return [[encoded.pop("cond"), encoded]]


def tiny_vae(name: str):
    vae = load_vae(architecture(name).vae)
    decode = vae.decode

    def faced(samples):
        """What it decodes, laid thinly over a photo: noise alone has no face, and then there is nothing to pick."""
        drawn = decode(samples)
        with Image.open(Path(folder_paths.get_input_directory()) / "photo0.png") as photo:
            face = np.asarray(photo.convert("RGB").resize((drawn.shape[-2], drawn.shape[-3])), dtype=np.float32) / 255
        return 0.9 * torch.from_numpy(face) + 0.1 * drawn

    vae.decode = faced
    return vae


def loader(kind: str, widget: str, made):
    """A node with the one widget of ComfyUI's loader that tells the family."""
    inputs = {"required": {widget: ("STRING", {})}}
    body = {"RETURN_TYPES": (kind,), "FUNCTION": "load", "CATEGORY": "tests", "INPUT_TYPES": lambda: inputs}
    return type(f"Tiny{kind}", (), body | {"load": lambda self, **named: (made(named[widget]),)})


NODE_CLASS_MAPPINGS = {
    "TestsTinyUNETLoader": loader("MODEL", "unet_name", lambda name: load(architecture(name))),
    "TestsTinyCLIPLoader": loader("CLIP", "type", lambda name: RandomWords(architecture(name).text[0])),
    "TestsTinyVAELoader": loader("VAE", "vae_name", tiny_vae),
}

"""Test nodes that replace ComfyUI's loaders. They load tiny random networks of the family in the file name."""

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

FAMILIES = {
    "flux": "Flux2",
    "z_im": "ZImage",
    "ae.s": "ZImage",
    "lumi": "ZImage",
}
PAD = "<pad>"


def architecture(name: str):
    return ARCHITECTURES[FAMILIES[name[:4]]]()


class RandomWords:
    """A CLIP with one random vector per word."""

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
        return {"words": [[(word, 1.0) for word in words + [PAD] * (self.shortest - len(words))]]}

    def encode_from_tokens(self, tokens: dict, return_dict: bool = False) -> dict:
        words = [word for word, _ in tokens["words"][0]]
        seeds = (torch.Generator().manual_seed(zlib.crc32(word.encode())) for word in words)
        vectors = torch.stack([torch.randn(self.width, generator=seed) for seed in seeds])
        mask = torch.tensor([[word != PAD for word in words]]).long()
        return {"cond": vectors[None], "pooled_output": None, "attention_mask": mask}

    def encode_from_tokens_scheduled(self, tokens: dict, **options) -> list:
        encoded = self.encode_from_tokens(tokens)
        return [[encoded.pop("cond"), encoded]]


def tiny_vae(name: str):
    vae = load_vae(architecture(name).vae)
    decode = vae.decode

    def decode_with_face(samples):
        """Blends the decoded noise with a photo, so that the images have a face that can be scored and picked."""
        decoded = decode(samples)
        with Image.open(Path(folder_paths.get_input_directory()) / "photo0.png") as photo:
            face = (
                np.asarray(photo.convert("RGB").resize((decoded.shape[-2], decoded.shape[-3])), dtype=np.float32) / 255
            )
        return 0.9 * torch.from_numpy(face) + 0.1 * decoded

    vae.decode = decode_with_face
    return vae


def loader(output_type: str, widget: str, load_file):
    """Returns a node class with only the widget of ComfyUI's loader that gives the family."""
    inputs = {"required": {widget: ("STRING", {})}}
    body = {"RETURN_TYPES": (output_type,), "FUNCTION": "load", "CATEGORY": "tests", "INPUT_TYPES": lambda: inputs}
    return type(f"Tiny{output_type}", (), body | {"load": lambda self, **named: (load_file(named[widget]),)})


NODE_CLASS_MAPPINGS = {
    "TestsTinyUNETLoader": loader("MODEL", "unet_name", lambda name: load(architecture(name))),
    "TestsTinyCLIPLoader": loader("CLIP", "type", lambda name: RandomWords(architecture(name).text[0])),
    "TestsTinyVAELoader": loader("VAE", "vae_name", tiny_vae),
}

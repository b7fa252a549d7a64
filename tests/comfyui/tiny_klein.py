"""Nodes of the tests alone: a tiny Flux.2 Klein with random weights, in ComfyUI's keys, and a random text encoder."""

import zlib
from pathlib import Path
from types import SimpleNamespace

import comfy.ldm.models.autoencoder as autoencoder
import comfy.ops
import comfy.sd
import folder_paths
import numpy as np
import torch
from comfy.ldm.flux.model import Flux
from PIL import Image

WIDTH = 96  # of the text encoder's tokens
NETWORK = {
    "image_model": "flux2", "in_channels": 128, "out_channels": 128, "vec_in_dim": None, "context_in_dim": WIDTH,
    "hidden_size": 128, "mlp_ratio": 3.0, "num_heads": 1, "depth": 1, "depth_single_blocks": 1,
    "axes_dim": [32, 32, 32, 32], "theta": 2000, "patch_size": 1, "qkv_bias": False, "guidance_embed": False,
    "txt_ids_dims": [3], "global_modulation": True, "mlp_silu_act": True, "ops_bias": False,
}  # fmt: skip
VAE = {
    "double_z": True, "z_channels": 32, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
    "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0, "batch_norm_latent": True,
}  # fmt: skip


class RandomWords:
    """A CLIP that gives each prompt tokens of its own."""

    layer_idx = None
    patcher = SimpleNamespace(get_key_patches=lambda prefix=None: {})

    def tokenize(self, prompt: str, **options) -> str:
        return prompt

    def encode_from_tokens_scheduled(self, prompt: str, **options) -> list:
        generator = torch.Generator().manual_seed(zlib.crc32(prompt.encode()))
        return [[torch.randn(1, len(prompt.split()) + 2, WIDTH, generator=generator), {"pooled_output": None}]]


def random_state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    generator, state = torch.Generator().manual_seed(0), {}
    for key, value in module.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        state[key] = noise * value[0].numel() ** -0.5 if value.ndim >= 2 else 1 + 0.05 * noise
        if key.endswith("bias"):
            state[key] = 0.02 * noise
    return state


def tiny_model():
    network = Flux(device="cpu", dtype=torch.float32, operations=comfy.ops.disable_weight_init, **NETWORK)
    return comfy.sd.load_diffusion_model_state_dict(random_state(network), model_options={"dtype": torch.float32})


def tiny_vae():
    coder = autoencoder.AutoencoderKL(ddconfig=VAE, decoder_ddconfig={**VAE, "ch": 32}, embed_dim=32)
    norm = {"running_mean": torch.zeros(128), "running_var": torch.ones(128), "num_batches_tracked": torch.tensor(0)}
    vae = comfy.sd.VAE(sd=random_state(coder) | {f"bn.{name}": value for name, value in norm.items()})
    decode = vae.decode

    def faced(samples):
        """What it decodes, laid thinly over a photo: noise alone has no face, and then there is nothing to pick."""
        drawn = decode(samples)
        with Image.open(Path(folder_paths.get_input_directory()) / "photo0.png") as photo:
            face = np.asarray(photo.convert("RGB").resize((drawn.shape[-2], drawn.shape[-3])), dtype=np.float32) / 255
        return 0.9 * torch.from_numpy(face) + 0.1 * drawn

    vae.decode = faced
    return vae


def loader(kind, made):
    """A node in the place of one of ComfyUI's loaders, with neither file nor widget."""
    body = {"RETURN_TYPES": (kind,), "FUNCTION": "load", "CATEGORY": "tests", "load": lambda self: (made(),)}
    return type(f"Tiny{kind}", (), body | {"INPUT_TYPES": classmethod(lambda cls: {"required": {}})})


NODE_CLASS_MAPPINGS = {
    "TestsTinyUNETLoader": loader("MODEL", tiny_model),
    "TestsTinyCLIPLoader": loader("CLIP", RandomWords),
    "TestsTinyVAELoader": loader("VAE", tiny_vae),
}

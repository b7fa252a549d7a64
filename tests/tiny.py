"""Checkpoints of the real architectures with random weights, small enough to test on any machine."""

import torch

from training.models.interface import StateDict
from training.models.stable_diffusion import keys
from training.models.stable_diffusion.families import END_OF_TEXT, Family
from training.models.stable_diffusion.model import tower_to_state_dict, unet_to_state_dict, vae_to_state_dict
from training.models.stable_diffusion.text import new_tower

TEXT_WIDTH = 64


def tiny_checkpoint(family: Family, seed: int = 0, tiny_vae: bool = False) -> StateDict:
    """A single-file state dict of ``family`` with two UNet levels. Token embeddings are most of its weights."""
    from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
    from transformers import CLIPTextConfig

    widths = (32, 64)
    settings = {
        "block_out_channels": widths,
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": TEXT_WIDTH * len(family.towers),
        "attention_head_dim": [max(1, width // family.head_width) for width in widths] if family.head_width else 8,
        "use_linear_projection": family.head_width is not None,
    }
    if family.added_conditions:
        settings |= {
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2),
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": TEXT_WIDTH + 6 * 256,
        }
    state: StateDict = {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        unet = UNet2DConditionModel(**settings)
        if tiny_vae:
            vae = AutoencoderTiny()
        else:
            vae = AutoencoderKL(
                block_out_channels=(32,) * 4,
                down_block_types=("DownEncoderBlock2D",) * 4,
                up_block_types=("UpDecoderBlock2D",) * 4,
                layers_per_block=1,
            )
        for spec in family.towers:
            config = CLIPTextConfig(
                vocab_size=END_OF_TEXT + 1,
                hidden_size=TEXT_WIDTH,
                intermediate_size=2 * TEXT_WIDTH,
                num_hidden_layers=2 + spec.unused_layers + spec.penultimate,
                num_attention_heads=1,
                projection_dim=TEXT_WIDTH,
                bos_token_id=END_OF_TEXT - 1,
                eos_token_id=END_OF_TEXT,
            )
            state |= tower_to_state_dict(new_tower(config, spec))
    state |= unet_to_state_dict(unet)
    state |= vae_to_state_dict(vae)
    if tiny_vae:  # ComfyUI's TAESD expects latents without the family's scale
        state[keys.VAE_PREFIX + "vae_scale"] = torch.tensor(family.latent_scale)
    return state

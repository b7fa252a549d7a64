"""Our key conversion against diffusers' converters, and against published checkpoints."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)

from tests.tiny import tiny_checkpoint
from training.models.stable_diffusion.checkpoint import model_from_state_dict
from training.models.stable_diffusion.families import FAMILIES, SD1, SD2, SDXL, Part, unet_config
from training.models.stable_diffusion.keys import UNET_PREFIX, unet_keys

EVERY_FAMILY = pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)


def assert_same(ours, theirs):
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@EVERY_FAMILY
def test_the_unet_matches_diffusers_converter(family):
    checkpoint = tiny_checkpoint(family)
    unet = model_from_state_dict(checkpoint, "tiny").denoiser.unet
    assert_same(unet.state_dict(), convert_ldm_unet_checkpoint(dict(checkpoint), unet.config))


@EVERY_FAMILY
def test_the_vae_matches_diffusers_converter(family):
    checkpoint = tiny_checkpoint(family)
    vae = model_from_state_dict(checkpoint, "tiny").codec.vae
    assert_same(vae.state_dict(), convert_ldm_vae_checkpoint(dict(checkpoint), vae.config))


@pytest.mark.parametrize("family", [SD2, SDXL], ids=lambda family: family.name)
def test_open_clip_matches_diffusers_converter(family):
    checkpoint = tiny_checkpoint(family)
    tower = model_from_state_dict(checkpoint, "tiny").denoiser.text.towers[-1]
    theirs = convert_open_clip_checkpoint(tower.text_model, dict(checkpoint), tower.spec.prefix)
    ours = {key.removeprefix("text_model."): value for key, value in tower.state_dict().items()}
    theirs = {key.removeprefix("text_model."): value for key, value in theirs.items()}
    assert ours.keys() <= theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    missing = theirs.keys() - ours.keys()
    assert all("layers.2." in key for key in missing), "only SD 2.x's unused last layer may be missing"


ATTENTION = {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
PUBLISHED = {
    "SD 1.5": (SD1, 686, {"cross_attention_dim": 768}),
    "SD 2.1": (SD2, 686, ATTENTION),
    "SDXL": (
        SDXL,
        1680,
        {
            "block_out_channels": (320, 640, 1280),
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            "transformer_layers_per_block": (1, 2, 10),
            "cross_attention_dim": 2048,
            "attention_head_dim": [5, 10, 20],
            "use_linear_projection": True,
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 2816,
        },
    ),
}
PUBLISHED_SHAPES = {  # of some weights in the published checkpoints
    "SD 1.5": {
        "input_blocks.0.0.weight": [320, 4, 3, 3],
        "input_blocks.3.0.op.weight": [320, 320, 3, 3],
        "input_blocks.4.0.skip_connection.weight": [640, 320, 1, 1],
        "middle_block.1.proj_in.weight": [1280, 1280, 1, 1],
        "output_blocks.2.1.conv.weight": [1280, 1280, 3, 3],
        "output_blocks.5.2.conv.weight": [1280, 1280, 3, 3],
        "output_blocks.11.1.transformer_blocks.0.attn2.to_k.weight": [320, 768],
        "time_embed.2.bias": [1280],
        "out.2.weight": [4, 320, 3, 3],
    },
    "SD 2.1": {
        "output_blocks.11.1.transformer_blocks.0.attn2.to_k.weight": [320, 1024],
        "input_blocks.1.1.proj_in.weight": [320, 320],
    },
    "SDXL": {
        "label_emb.0.0.weight": [1280, 2816],
        "input_blocks.8.1.transformer_blocks.9.ff.net.0.proj.weight": [10240, 1280],
        "output_blocks.2.2.conv.weight": [1280, 1280, 3, 3],
        "output_blocks.8.0.in_layers.2.weight": [320, 640, 3, 3],
    },
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_get_their_published_keys_and_their_config_back(name):
    family, count, config = PUBLISHED[name]
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
        state = unet.state_dict()
        checkpoint = {theirs: state[ours] for ours, theirs in unet_keys(unet).items()}
        rebuilt = UNet2DConditionModel(**unet_config(Part(checkpoint, "UNet", UNET_PREFIX), family))
    assert len(checkpoint) == count
    for key, shape in PUBLISHED_SHAPES[name].items():
        assert list(checkpoint["model.diffusion_model." + key].shape) == shape
    assert {key: value.shape for key, value in rebuilt.state_dict().items()} == {
        key: value.shape for key, value in state.items()
    }
    heads = [[module.heads for module in network.modules() if hasattr(module, "heads")] for network in (unet, rebuilt)]
    assert heads[0] == heads[1]


def test_the_config_of_the_synthetic_worlds_one_level_unet_is_recovered():
    config = {
        "block_out_channels": (320,),
        "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D",),
        "up_block_types": ("CrossAttnUpBlock2D",),
        "cross_attention_dim": 768,
    }
    with torch.device("meta"):
        unet = UNet2DConditionModel(**config)
        state = unet.state_dict()
        checkpoint = {theirs: state[ours] for ours, theirs in unet_keys(unet).items()}
    read = unet_config(Part(checkpoint, "UNet", UNET_PREFIX), SD1)
    assert {key: read[key] for key in config} == config

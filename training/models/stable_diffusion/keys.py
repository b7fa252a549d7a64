"""Maps diffusers' and transformers' keys to those of Stable Diffusion's single files, and back.

The same table serves both directions, so a checkpoint that is opened and saved again has the same keys and values.
diffusers has only the reading half; tests compare ours with it. The layout is that of CompVis' latent-diffusion.
"Checkpoint" means a single file here.
"""

import re
from typing import Any

import torch

from ..interface import StateDict

UNET_PREFIX = "model.diffusion_model."
VAE_PREFIX = "first_stage_model."


_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
# Attention keys of early diffusers versions.
OLD_ATTENTION = {".query.": ".to_q.", ".key.": ".to_k.", ".value.": ".to_v.", ".proj_attn.": ".to_out.0."}
_OPEN_CLIP = {
    "embeddings.token_embedding": "token_embedding",
    "embeddings.position_embedding.weight": "positional_embedding",
    "encoder.layers.": "transformer.resblocks.",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
    "final_layer_norm": "ln_final",
    "text_projection.weight": "text_projection",
}


def _replace(key: str, table: dict[str, str]) -> str:
    for ours, theirs in table.items():
        key = key.replace(ours, theirs)
    return key


def unet_key(key: str, layers_per_block: int, attention_up_blocks: set[int]) -> str:
    """The checkpoint key for UNet2DConditionModel's ``key``, given the indices of the up blocks with attention."""
    per_block = layers_per_block + 1
    if match := re.match(r"down_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", key):
        level, module, layer, rest = match.groups()
        name = f"input_blocks.{1 + int(level) * per_block + int(layer)}.{int(module == 'attentions')}.{rest}"
    elif match := re.match(r"down_blocks\.(\d+)\.downsamplers\.0\.conv\.(.*)", key):
        name = f"input_blocks.{(int(match[1]) + 1) * per_block}.0.op.{match[2]}"
    elif match := re.match(r"mid_block\.(resnets|attentions)\.(\d+)\.(.*)", key):
        name = f"middle_block.{1 if match[1] == 'attentions' else 2 * int(match[2])}.{match[3]}"
    elif match := re.match(r"up_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.*)", key):
        level, module, layer, rest = match.groups()
        name = f"output_blocks.{int(level) * per_block + int(layer)}.{int(module == 'attentions')}.{rest}"
    elif match := re.match(r"up_blocks\.(\d+)\.upsamplers\.0\.(.*)", key):
        level = int(match[1])
        name = f"output_blocks.{level * per_block + layers_per_block}.{1 + (level in attention_up_blocks)}.{match[2]}"
    else:
        name = _replace(key, _UNET_ENDS)
    return UNET_PREFIX + (_replace(name, _RESNET) if "resnets" in key else name)


def unet_keys(unet: Any) -> dict[str, str]:
    """Every key of a UNet2DConditionModel with its checkpoint key."""
    attention = {index for index, block in enumerate(unet.up_blocks) if hasattr(block, "attentions")}
    layers = len(unet.down_blocks[0].resnets)
    return {key: unet_key(key, layers, attention) for key in unet.state_dict()}


def vae_key(key: str, levels: int) -> str:
    """The checkpoint key for AutoencoderKL's ``key``. Checkpoints number the decoder's ``levels`` in reverse."""
    name = re.sub(r"down_blocks\.(\d+)\.resnets\.", r"down.\1.block.", key)
    name = re.sub(r"down_blocks\.(\d+)\.downsamplers\.0\.", r"down.\1.downsample.", name)
    name = re.sub(r"up_blocks\.(\d+)\.resnets\.", lambda m: f"up.{levels - 1 - int(m[1])}.block.", name)
    name = re.sub(r"up_blocks\.(\d+)\.upsamplers\.0\.", lambda m: f"up.{levels - 1 - int(m[1])}.upsample.", name)
    name = re.sub(r"mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", name)
    if "attentions" in name:
        name = _replace(name.replace("mid_block.attentions.0", "mid.attn_1"), _VAE_ATTENTION)
    return VAE_PREFIX + name.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")


def vae_from_checkpoint(checkpoint: StateDict) -> StateDict:
    """``checkpoint`` with its VAE in the usual keys.

    Some tools write the VAE's attention, or all of the VAE, in diffusers' keys. ComfyUI reads only the latter.
    """
    parts = [key.split(".") for key in checkpoint if key.startswith(f"{VAE_PREFIX}encoder.down_blocks.")]
    levels = len({part[3] for part in parts})
    result = {}
    for key, value in checkpoint.items():
        name = _replace(key.removeprefix(VAE_PREFIX), OLD_ATTENTION)
        if not key.startswith(VAE_PREFIX):
            result[key] = value
        elif levels:
            result[vae_key(name, levels)] = value
        else:
            result[VAE_PREFIX + (_replace(name, _VAE_ATTENTION) if ".mid.attn_1." in name else name)] = value
    return result


def tiny_vae_key(key: str) -> str:
    """ComfyUI's checkpoint key for AutoencoderTiny's ``key``. Its decoder counts the clamp as layer 0."""
    side, _, index, rest = key.split(".", 3)
    return f"{VAE_PREFIX}taesd_{side}.{int(index) + (side == 'decoder')}.{rest}"


def vae_keys(vae: Any) -> dict[str, str]:
    """Every key of an AutoencoderKL or AutoencoderTiny with its checkpoint key."""
    if type(vae).__name__ == "AutoencoderTiny":
        return {key: tiny_vae_key(key) for key in vae.state_dict()}
    levels = len(vae.config.block_out_channels)
    return {key: vae_key(key, levels) for key in vae.state_dict()}


def clip_to_checkpoint(state: StateDict, prefix: str) -> StateDict:
    """CLIP-L's weights with checkpoint keys under ``prefix``, such as "cond_stage_model.transformer."."""
    return {f"{prefix}text_model.{key.removeprefix('text_model.')}": value for key, value in state.items()}


def clip_from_checkpoint(checkpoint: StateDict, prefix: str) -> StateDict:
    """The inverse of clip_to_checkpoint; the keys are those of transformers' CLIPTextModelWithProjection.

    Old files also contain ``position_ids``, which is not a weight, and some omit ``text_model.``.
    """
    return {
        "text_model." + key.removeprefix(prefix).removeprefix("text_model."): value
        for key, value in checkpoint.items()
        if key.startswith(prefix) and not key.endswith("position_ids") and "text_projection" not in key
    }


def open_clip_to_checkpoint(state: StateDict, prefix: str) -> StateDict:
    """An OpenCLIP tower's weights under ``prefix``. Joins query, key and value, and transposes the projection."""
    result = {}
    for key, value in state.items():
        name = _replace(key.removeprefix("text_model."), _OPEN_CLIP)
        if match := re.match(r"(.*)self_attn\.q_proj\.(weight|bias)", name):
            parts = [state[key.replace("q_proj", f"{part}_proj")] for part in "qkv"]
            result[f"{prefix}{match[1]}attn.in_proj_{match[2]}"] = torch.cat(parts)
        elif "self_attn" not in name:
            result[prefix + name] = value.T.contiguous() if name == "text_projection" else value
    return result


def open_clip_from_checkpoint(checkpoint: StateDict, prefix: str) -> StateDict:
    """The inverse of open_clip_to_checkpoint; the keys are those of transformers' CLIPTextModelWithProjection."""
    back = {theirs: ours for ours, theirs in _OPEN_CLIP.items() if theirs != "token_embedding"}
    result = {}
    for key, value in checkpoint.items():
        name = key.removeprefix(prefix)
        if not key.startswith(prefix) or name in ("logit_scale", "attn_mask"):
            continue
        if name == "text_projection":
            result["text_projection.weight"] = torch.atleast_2d(value).mT.contiguous()
        elif name.startswith("token_embedding"):
            result["text_model.embeddings." + name] = value
        elif match := re.match(r"(.*)attn\.in_proj_(weight|bias)", _replace(name, back)):
            for part, chunk in zip("qkv", torch.atleast_1d(value).tensor_split(3), strict=True):
                result[f"text_model.{match[1]}self_attn.{part}_proj.{match[2]}"] = chunk.contiguous()
        else:
            result["text_model." + _replace(name, back)] = value
    return result

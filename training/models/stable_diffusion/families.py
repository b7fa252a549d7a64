"""How Stable Diffusion 1.x, 2.x and SDXL differ, and network configs read from the shapes of their weights."""

import re
from dataclasses import dataclass

from torch import Tensor

from ...errors import DamagedFile, UnsupportedModel
from ..interface import StateDict
from .keys import UNET_PREFIX, VAE_PREFIX

CONTEXT_LENGTH = 77  # tokens, in every CLIP text tower
END_OF_TEXT = 49407  # last token of CLIP's vocabulary
CLIP_LAYERS = {768: 12, 1024: 23, 1280: 32}  # layers that run, by width; files do not state it


@dataclass(frozen=True)
class Tower:
    """One CLIP text encoder of a family, and how the UNet uses it."""

    prefix: str  # of its keys in a single-file checkpoint
    open_clip: bool  # key layout and activation of OpenCLIP; False: OpenAI's CLIP
    pad_token: int  # pads the prompt to CONTEXT_LENGTH
    penultimate: bool = False  # the UNet uses the second-to-last layer, without the final norm
    pooled: bool = False  # the UNet also uses the projected embedding of the whole prompt
    unused_layers: int = 0  # layers at the end of the checkpoint that the family never runs


@dataclass(frozen=True)
class Family:
    """A family of diffusion models that share text encoders, latent scale and training resolution."""

    name: str
    towers: tuple[Tower, ...]
    latent_scale: float  # multiplies AutoencoderKL's latents so that the UNet sees unit variance
    resolution: int  # px
    head_width: int | None  # channels per attention head; None: always 8 heads

    @property
    def added_conditions(self) -> bool:
        """Whether the UNet also uses the pooled embedding and the image size (SDXL)."""
        return any(tower.pooled for tower in self.towers)


SD1 = Family(
    "Stable Diffusion 1.x",
    (Tower("cond_stage_model.transformer.", open_clip=False, pad_token=END_OF_TEXT),),
    latent_scale=0.18215,
    resolution=512,
    head_width=None,
)
SD2 = Family(
    "Stable Diffusion 2.x",
    (Tower("cond_stage_model.model.", open_clip=True, pad_token=0, unused_layers=1),),
    latent_scale=0.18215,
    resolution=768,
    head_width=64,
)
SDXL = Family(
    "SDXL",
    (
        Tower("conditioner.embedders.0.transformer.", open_clip=False, pad_token=END_OF_TEXT, penultimate=True),
        Tower("conditioner.embedders.1.model.", open_clip=True, pad_token=0, penultimate=True, pooled=True),
    ),
    latent_scale=0.13025,
    resolution=1024,
    head_width=64,
)
FAMILIES = (SD1, SD2, SDXL)

_OTHER_MODELS = {
    "double_blocks.": "Flux",
    "joint_blocks.": "Stable Diffusion 3",
    "lora_unet_": "a LoRA",
    "lora_A.": "a LoRA",
    "control_model.": "a ControlNet",
    "conditioner.embedders.0.model.": "the SDXL refiner",
}


def native_resolution(family_name: str, prediction_type: str, default: int) -> int:
    """Side in px of the images that a model was trained on: 512 for SD 2.x with epsilon, else ``default``.

    SD 2.x has two resolutions: 512 for epsilon and 768 for v.
    """
    return 512 if family_name == SD2.name and prediction_type == "epsilon" else default


class Part(dict[str, Tensor]):
    """The tensors of one network. A missing tensor raises UserError with the network's name."""

    def __init__(self, tensors: StateDict, name: str, prefix: str = ""):
        """Takes the ``tensors`` under ``prefix`` and removes it from their keys. Errors mention ``name``."""
        super().__init__({key.removeprefix(prefix): tensors[key] for key in tensors if key.startswith(prefix)})
        self.name = name

    def __missing__(self, key: str) -> Tensor:
        raise DamagedFile(f"The {self.name} is incomplete: {key} is missing.")

    def size(self, key: str, dimension: int) -> int:
        """The size of tensor ``key`` in one dimension. Raises UserError if it has fewer dimensions."""
        shape = tuple(self[key].shape)
        if dimension >= len(shape):
            raise DamagedFile(f"The {self.name} has an unknown layout: {key} has shape {shape}.")
        return shape[dimension]


def recognise(checkpoint: StateDict, source: str) -> Family:
    """The family of a single-file state dict. Raises UserError, with a guess at what it is, if it is not supported."""
    for family in FAMILIES:
        prefixes = [tower.prefix for tower in family.towers] + [UNET_PREFIX + "input_blocks.", VAE_PREFIX]
        if all(any(key.startswith(prefix) for key in checkpoint) for prefix in prefixes):
            channels = Part(checkpoint, f"UNet in {source}", UNET_PREFIX).size("input_blocks.0.0.weight", 1)
            if channels == 4:
                return family
            raise UnsupportedModel(
                f"{source} is a {family.name} model with {channels} input channels, for inpainting or depth. "
                "Use a text-to-image checkpoint, which has 4."
            )
    guess = next((name for mark, name in _OTHER_MODELS.items() if any(mark in key for key in checkpoint)), None)
    hint = (
        f"It looks like {guess}." if guess else f"Its first keys are {', '.join(sorted(checkpoint)[:3]) or 'missing'}."
    )
    raise UnsupportedModel(
        f"{source} is not a complete checkpoint of a supported family. {hint} Supported are "
        f"{', '.join(family.name for family in FAMILIES)}, with UNet, text encoder and VAE in one file."
    )


def looks_like_v_prediction(checkpoint: StateDict, family: Family) -> bool:
    """Whether the model predicts v. The file format does not state it; ComfyUI uses the same two signs.

    SD 2.x: the last attention's norm bias has a large spread in v models. SDXL: v fine-tunes have a ``v_pred`` key.
    """
    bias = checkpoint.get(UNET_PREFIX + "output_blocks.11.1.transformer_blocks.0.norm1.bias")
    spread = family is SD2 and bias is not None and bias.float().std(unbiased=False).item() > 0.09
    return spread or "v_pred" in checkpoint


def _count(keys: StateDict, pattern: str) -> int:
    """The number of different values in the first group of ``pattern``."""
    return len({match[1] for key in keys if (match := re.match(pattern, key))})


def unet_config(keys: Part, family: Family) -> dict:
    """UNet2DConditionModel's config for a single file's UNet of any depth and width."""

    def depth(block: str) -> int:
        return _count(keys, rf"{re.escape(block)}\.1\.transformer_blocks\.(\d+)\.")

    channels, depths, layers = [], [], []
    for index in range(1, max(2, _count(keys, r"input_blocks\.(\d+)\."))):
        block = f"input_blocks.{index}"
        if f"{block}.0.op.weight" in keys or not channels:
            channels, depths, layers = [*channels, 0], [*depths, 0], [*layers, 0]
        if f"{block}.0.op.weight" not in keys:
            channels[-1] = keys.size(f"{block}.0.out_layers.3.weight", 0)
            depths[-1] = depth(block)
            layers[-1] += 1
    attention = [bool(blocks) for blocks in depths]
    depths[-1] = depths[-1] or depth("middle_block")
    cross_attention = "middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    config = {
        "in_channels": keys.size("input_blocks.0.0.weight", 1),
        "out_channels": keys.size("out.2.weight", 0),
        "block_out_channels": tuple(channels),
        "layers_per_block": layers[0],
        "down_block_types": tuple("CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in attention),
        "up_block_types": tuple("CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in attention[::-1]),
        "transformer_layers_per_block": tuple(blocks or 1 for blocks in depths),
        "cross_attention_dim": keys.size(cross_attention, 1),
        "attention_head_dim": [max(1, width // family.head_width) for width in channels] if family.head_width else 8,
        "use_linear_projection": keys["middle_block.1.proj_in.weight"].ndim == 2,
        "sample_size": family.resolution // 8,
    }
    if family.added_conditions:
        config |= {
            "addition_embed_type": "text_time",
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": keys.size("label_emb.0.0.weight", 1),
        }
    return config


def vae_config(keys: Part, family: Family) -> dict:
    """AutoencoderKL's config for a single file's VAE."""
    levels = max(1, _count(keys, r"encoder\.down\.(\d+)\."))
    channels = [keys.size(f"encoder.down.{level}.block.0.conv2.weight", 0) for level in range(levels)]
    return {
        "block_out_channels": tuple(channels),
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "layers_per_block": _count(keys, r"encoder\.down\.0\.block\.(\d+)\."),
        "latent_channels": keys.size("decoder.conv_in.weight", 1),
        "scaling_factor": family.latent_scale,
        "sample_size": family.resolution,
    }


def text_config(keys: Part, tower: Tower, unused_layers: int) -> dict:
    """CLIPTextConfig's arguments for a tower in transformers' layout whose last ``unused_layers`` layers never run."""
    embedding = "text_model.embeddings.token_embedding.weight"
    tokens, width = keys.size(embedding, 0), keys.size(embedding, 1)
    if tokens <= END_OF_TEXT:
        raise DamagedFile(
            f"The {keys.name} is incomplete: its vocabulary has {tokens} of CLIP's {END_OF_TEXT + 1} tokens."
        )
    layers = _count(keys, r"text_model\.encoder\.layers\.(\d+)\.") - unused_layers
    return {
        "vocab_size": tokens,
        "hidden_size": width,
        "intermediate_size": keys.size("text_model.encoder.layers.0.mlp.fc1.weight", 0),
        "num_hidden_layers": CLIP_LAYERS.get(width, layers),
        "num_attention_heads": max(1, width // 64),
        "projection_dim": keys.size("text_projection.weight", 0) if tower.pooled else width,
        "max_position_embeddings": CONTEXT_LENGTH,
        "hidden_act": "gelu" if tower.open_clip else "quick_gelu",
        "bos_token_id": END_OF_TEXT - 1,
        "eos_token_id": END_OF_TEXT,
    }

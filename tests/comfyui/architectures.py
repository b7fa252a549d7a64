"""Tiny networks of current families with random weights, under ComfyUI's keys. Imported in ComfyUI's Python."""

import contextlib
import functools
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import comfy.ldm.anima.model
import comfy.ldm.models.autoencoder as autoencoder
import comfy.ldm.wan.vae
import comfy.model_detection
import comfy.ops
import comfy.sd
import comfy.supported_models
import torch
from comfy.ldm.anima.model import Anima
from comfy.ldm.chroma.model import Chroma
from comfy.ldm.ernie.model import ErnieImageModel
from comfy.ldm.flux.model import Flux
from comfy.ldm.krea2.model import SingleStreamDiT
from comfy.ldm.lumina.model import NextDiT
from comfy.ldm.modules.diffusionmodules.mmdit import OpenAISignatureMMDITWrapper
from comfy.ldm.omnigen.omnigen2 import OmniGen2Transformer2DModel
from comfy.ldm.qwen_image.model import QwenImageTransformer2DModel
from comfy.ldm.wan.model import WanModel

# The size of Anima's text adapter is hard-coded in its network. This makes it tiny.
comfy.ldm.anima.model.LLMAdapter = functools.partial(
    comfy.ldm.anima.model.LLMAdapter, source_dim=64, target_dim=64, model_dim=64, num_layers=1, num_heads=1
)
KL, FLUX2_KL, WAN_VAE = "16 channels", "Flux.2", "Wan"


@dataclass(frozen=True)
class Architecture:
    """One network with its VAE and text encoder."""

    network: type
    config: dict[str, Any]
    vae: str
    text: tuple[int, int | None]  # widths of the tokens and of the pooled embedding
    unseen: dict[str, Any] = field(default_factory=dict)  # config values that model detection assumes
    vocabulary: int = 0  # of a second tokenizer, whose numbers the network itself embeds; 0: there is none


def flux(**changes: Any) -> Architecture:
    config = {
        "image_model": "flux", "in_channels": 16, "out_channels": 16, "vec_in_dim": 32, "context_in_dim": 64,
        "hidden_size": 128, "mlp_ratio": 4.0, "num_heads": 1, "depth": 1, "depth_single_blocks": 1,
        "axes_dim": [16, 56, 56], "theta": 10000, "patch_size": 2, "qkv_bias": True, "guidance_embed": True,
        "txt_ids_dims": [],
    } | changes  # fmt: skip
    return Architecture(Flux, config, KL, (64, 32))


def flux2() -> Architecture:
    config = {
        "image_model": "flux2", "in_channels": 128, "out_channels": 128, "vec_in_dim": None, "context_in_dim": 96,
        "hidden_size": 128, "mlp_ratio": 3.0, "num_heads": 1, "depth": 1, "depth_single_blocks": 1,
        "axes_dim": [32, 32, 32, 32], "theta": 2000, "patch_size": 1, "qkv_bias": False, "guidance_embed": False,
        "txt_ids_dims": [3], "global_modulation": True, "mlp_silu_act": True, "ops_bias": False,
    }  # fmt: skip
    return Architecture(Flux, config, FLUX2_KL, (96, None))


def chroma() -> Architecture:
    unseen = {"out_dim": 128, "hidden_dim": 64, "n_layers": 2}
    config = {
        "image_model": "chroma", "in_channels": 64, "out_channels": 64, "context_in_dim": 64, "hidden_size": 128,
        "mlp_ratio": 4.0, "num_heads": 1, "depth": 1, "depth_single_blocks": 1, "axes_dim": [16, 56, 56],
        "theta": 10000, "patch_size": 2, "qkv_bias": True, "in_dim": 64, "txt_ids_dims": [], "vec_in_dim": None,
    }  # fmt: skip
    return Architecture(Chroma, config | unseen, KL, (64, None), unseen)


def stable_diffusion_3(depth: int = 2) -> Architecture:
    embedder = {"target": "torch.nn.Linear", "params": {"in_features": 64, "out_features": 64 * depth}}
    config = {
        "in_channels": 16, "patch_size": 2, "out_channels": 16, "depth": depth, "input_size": None,
        "adm_in_channels": 32, "context_embedder_config": embedder, "num_patches": 64 * 64, "pos_embed_max_size": 64,
        "qk_norm": "rms", "pos_embed_scaling_factor": None, "x_block_self_attn_layers": [0],
    }  # fmt: skip
    return Architecture(OpenAISignatureMMDITWrapper, config, KL, (64, 32))


def qwen_image() -> Architecture:
    unseen = {"num_attention_heads": 1, "joint_attention_dim": 64}
    return Architecture(
        QwenImageTransformer2DModel, {"in_channels": 64, "num_layers": 1} | unseen, WAN_VAE, (64, None), unseen
    )


def lumina(**unseen: Any) -> Architecture:
    config = {"patch_size": 2, "in_channels": 16, "cap_feat_dim": 48, "n_layers": 1, "qk_norm": True}
    return Architecture(NextDiT, config | {"n_refiner_layers": 2} | unseen, KL, (48, None), unseen)


def lumina2() -> Architecture:
    return lumina(
        dim=96, n_heads=1, n_kv_heads=1, axes_dims=[32, 32, 32], axes_lens=[300, 512, 512], rope_theta=10000.0,
        ffn_dim_multiplier=4.0,
    )  # fmt: skip


def z_image() -> Architecture:
    return lumina(
        dim=256, n_heads=2, n_kv_heads=2, axes_dims=[32, 48, 48], axes_lens=[1536, 512, 512], rope_theta=256.0,
        ffn_dim_multiplier=8.0 / 3.0, z_image_modulation=True, time_scale=1000.0, pad_tokens_multiple=32,
    )  # fmt: skip


def wan(**changes: Any) -> Architecture:
    config = {
        "image_model": "wan2.1", "model_type": "t2v", "patch_size": (1, 2, 2), "in_dim": 16, "dim": 128,
        "ffn_dim": 256, "freq_dim": 256, "out_dim": 16, "num_heads": 1, "num_layers": 1, "window_size": (-1, -1),
        "qk_norm": True, "cross_attn_norm": True, "eps": 1e-6,
    } | changes  # fmt: skip
    return Architecture(WanModel, config, WAN_VAE, (4096, None))


def anima() -> Architecture:
    unseen = {"num_heads": 1, "crossattn_emb_channels": 64}
    config = {
        "image_model": "anima", "max_img_h": 240, "max_img_w": 240, "max_frames": 128, "in_channels": 16,
        "out_channels": 16, "patch_spatial": 2, "patch_temporal": 1, "concat_padding_mask": True,
        "model_channels": 128, "pos_emb_cls": "rope3d", "pos_emb_learnable": True, "pos_emb_interpolation": "crop",
        "min_fps": 1, "max_fps": 30, "use_adaln_lora": True, "adaln_lora_dim": 256, "num_blocks": 1,
        "extra_per_block_abs_pos_emb": False, "rope_h_extrapolation_ratio": 4.0, "rope_w_extrapolation_ratio": 4.0,
        "rope_t_extrapolation_ratio": 1.0, "rope_enable_fps_modulation": False,
    }  # fmt: skip
    return Architecture(Anima, config | unseen, WAN_VAE, (64, None), unseen, vocabulary=32128)


def ernie() -> Architecture:
    unseen = {"num_attention_heads": 1}
    config = {"hidden_size": 128, "ffn_hidden_size": 128, "num_layers": 1, "text_in_dim": 64} | unseen
    return Architecture(ErnieImageModel, config, FLUX2_KL, (64, None), config)


def krea2() -> Architecture:
    unseen = {"heads": 1, "kvheads": 1, "txtheads": 1, "txtkvheads": 1, "multiplier": 2}
    config = {"features": 128, "txtdim": 64, "layers": 1, "txtlayers": 2} | unseen
    return Architecture(SingleStreamDiT, config, WAN_VAE, (128, None), unseen)


def omnigen2() -> Architecture:
    config = {
        "axes_dim_rope": [32, 32, 32], "axes_lens": [300, 512, 512], "hidden_size": 192, "multiple_of": 64,
        "num_attention_heads": 2, "num_kv_heads": 2, "num_layers": 1, "num_refiner_layers": 1, "text_feat_dim": 64,
        "timestep_scale": 1000.0,
    }  # fmt: skip
    return Architecture(OmniGen2Transformer2DModel, config, KL, (64, None), config)


ARCHITECTURES: dict[str, Callable[[], Architecture]] = {
    "Flux": flux,
    "FluxSchnell": lambda: flux(guidance_embed=False),
    "Flux2": flux2,
    "Chroma": chroma,
    "SD3": stable_diffusion_3,
    "QwenImage": qwen_image,
    "Lumina2": lumina2,
    "ZImage": z_image,
    "WAN21_T2V": wan,
    "Anima": anima,
    "ErnieImage": ernie,
    "Krea2": krea2,
    "Omnigen2": omnigen2,
}


def random_state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Returns random weights with about the scale of trained ones."""
    generator, state = torch.Generator().manual_seed(0), {}
    for key, value in module.state_dict().items():
        noise = torch.randn(value.shape, generator=generator)
        if value.ndim >= 2:
            state[key] = noise * value[0].numel() ** -0.5
        else:
            state[key] = 0.02 * noise if key.endswith("bias") else 1 + 0.05 * noise
    return state


def network_state(architecture: Architecture) -> dict[str, torch.Tensor]:
    """Returns the state dict of the network alone, as in files for Load Diffusion Model."""
    operations = comfy.ops.disable_weight_init
    return random_state(
        architecture.network(device="cpu", dtype=torch.float32, operations=operations, **architecture.config)
    )


@contextlib.contextmanager
def recognised(architecture: Architecture) -> Iterator[None]:
    """Makes ComfyUI's model detection return the sizes of the tiny network."""
    detect, z_image_config = comfy.model_detection.detect_unet_config, comfy.supported_models.ZImage.unet_config

    def detect_tiny(*arguments: Any, **options: Any) -> dict[str, Any]:
        return (detect(*arguments, **options) or {}) | architecture.unseen

    comfy.model_detection.detect_unet_config = detect_tiny
    if architecture.unseen.get("z_image_modulation"):
        comfy.supported_models.ZImage.unet_config = {"image_model": "lumina2", "dim": architecture.unseen["dim"]}
    try:
        yield
    finally:
        comfy.model_detection.detect_unet_config = detect
        comfy.supported_models.ZImage.unet_config = z_image_config


def load(architecture: Architecture, state: dict[str, torch.Tensor] | None = None, dtype=torch.float32, **options: Any):
    """Returns a MODEL from ComfyUI's own loader."""
    state = network_state(architecture) if state is None else state
    options |= {"dtype": dtype} if dtype else {}
    with recognised(architecture), torch.inference_mode():
        return comfy.sd.load_diffusion_model_state_dict(dict(state), model_options=options)


def load_vae(kind: str):
    """Returns one of three VAEs, with the encoder width that ComfyUI expects and a narrow decoder."""
    if kind == WAN_VAE:
        network = comfy.ldm.wan.vae.WanVAE(
            dim=16, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=2, attn_scales=[],
            temperal_downsample=[False, True, True],
        )  # fmt: skip
    else:
        channels = 32 if kind == FLUX2_KL else 16
        settings = {
            "double_z": True, "z_channels": channels, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
            "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0,
        }  # fmt: skip
        if kind == FLUX2_KL:
            settings["batch_norm_latent"] = True
            network = autoencoder.AutoencoderKL(
                ddconfig=settings, decoder_ddconfig={**settings, "ch": 32}, embed_dim=channels
            )
        else:
            part = "comfy.ldm.modules.diffusionmodules.model."
            network = autoencoder.AutoencodingEngine(
                regularizer_config={"target": "comfy.ldm.models.autoencoder.DiagonalGaussianRegularizer"},
                encoder_config={"target": part + "Encoder", "params": settings},
                decoder_config={"target": part + "Decoder", "params": {**settings, "ch": 32}},
            )
    state = random_state(network)
    if kind == FLUX2_KL:
        generator = torch.Generator().manual_seed(1)
        state["bn.running_mean"] = 0.1 * torch.randn(4 * channels, generator=generator)
        state["bn.running_var"] = 0.5 + torch.rand(4 * channels, generator=generator)
        state["bn.num_batches_tracked"] = torch.tensor(0)
    with torch.inference_mode():
        return comfy.sd.VAE(sd=state)


class RandomClip:
    """Replaces a text encoder that is too large for tests: random tokens per prompt, as many as it has words plus 2.

    With a ``vocabulary`` it also gives T5's token numbers, as Anima's text encoder does.
    """

    layer_idx = None

    def __init__(self, widths: tuple[int, int | None], vocabulary: int = 0):
        self.widths, self.vocabulary = widths, vocabulary
        self.patcher = SimpleNamespace(model_state_dict=lambda prefix=None: {})

    def tokenize(self, prompt: str) -> str:
        return prompt

    def encode_from_tokens_scheduled(self, prompt: str) -> list:
        """CONDITIONING [1, words + 2, width]."""
        generator = torch.Generator().manual_seed(zlib.crc32(prompt.encode()))
        width, pooled = self.widths
        tokens = torch.randn(1, len(prompt.split()) + 2, width, generator=generator)
        extra = {"pooled_output": torch.randn(1, pooled, generator=generator)} if pooled else {"pooled_output": None}
        extra["attention_mask"] = torch.ones(tokens.shape[:2], dtype=torch.long)
        if self.vocabulary:
            count = len(prompt.split()) + 1
            extra["t5xxl_ids"] = torch.randint(self.vocabulary, (count,), generator=generator, dtype=torch.int)
            extra["t5xxl_weights"] = torch.ones(count)
        return [[tokens, extra]]

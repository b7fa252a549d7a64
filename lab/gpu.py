"""Measures seconds per step and peak memory of in-place LoRA training on this machine's GPU.

usage: python -m lab.gpu COMFYUI [SECONDS] [--tiny]

The models have random weights in their real sizes. Run it with ComfyUI's Python, or one that has its packages. It also
runs on a CPU, where only --tiny is quick. Each case prints a line when it is done; cases that did not fit into SECONDS
are listed at the end.
"""

import importlib.util
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

START = time.monotonic()
STEPS, WARM = (12, 3) if torch.cuda.is_available() else (1, 1)  # timed steps and warm-up steps
FLUX2 = {
    "image_model": "flux2", "in_channels": 128, "out_channels": 128, "vec_in_dim": None, "context_in_dim": 7680,
    "hidden_size": 3072, "mlp_ratio": 3.0, "num_heads": 24, "depth": 5, "depth_single_blocks": 20,
    "axes_dim": [32, 32, 32, 32], "theta": 2000, "patch_size": 1, "qkv_bias": False, "guidance_embed": False,
    "txt_ids_dims": [3], "global_modulation": True, "mlp_silu_act": True, "ops_bias": False,
}  # fmt: skip
UNET = {"image_size": 32, "in_channels": 4, "out_channels": 4, "model_channels": 320, "use_spatial_transformer": True}
SD15 = UNET | {
    "num_res_blocks": [2, 2, 2, 2], "channel_mult": [1, 2, 4, 4], "context_dim": 768, "num_heads": 8,
    "transformer_depth": [1, 1, 1, 1, 1, 1, 0, 0], "transformer_depth_middle": 1,
    "transformer_depth_output": [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0], "use_linear_in_transformer": False,
    "legacy": False,
}  # fmt: skip
SDXL = UNET | {
    "num_res_blocks": [2, 2, 2], "channel_mult": [1, 2, 4], "context_dim": 2048, "num_head_channels": 64,
    "transformer_depth": [0, 0, 2, 2, 10, 10], "transformer_depth_middle": 10, "num_classes": "sequential",
    "transformer_depth_output": [0, 0, 0, 2, 2, 2, 10, 10, 10], "use_linear_in_transformer": True,
    "adm_in_channels": 2816, "num_heads": -1, "legacy": False,
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One training run to measure."""

    model: str
    side: int  # px
    settings: dict[str, Any] = field(default_factory=dict)
    compiled: bool = False

    def __str__(self) -> str:
        extra = [name for name, on in self.settings.items() if on] + ["torch.compile"] * self.compiled
        return ", ".join([self.model, f"{self.side} px", *extra])


CHECKED = {"gradient_checkpointing": True}
REWARD = {"reward_every": 12, "reward_start": 0.0, "reward_age": 0.0}
CASES = (
    Case("SD 1.5", 512),
    Case("SD 1.5", 512, {"loss": "none"}),
    Case("SDXL", 1024, CHECKED),
    Case("Flux.2 Klein 4B", 512, CHECKED),
    Case("Flux.2 Klein 4B", 1024, CHECKED),
    Case("SD 1.5", 512, CHECKED),
    Case("SD 1.5", 512, REWARD),
    Case("SDXL", 1024),
    Case("Flux.2 Klein 4B", 512),
    Case("SD 1.5", 512, compiled=True),
)
TINY = (Case("SD 1.5", 64), Case("Flux.2 Klein 4B", 64, CHECKED))


def main(comfyui: str, seconds: str = "600", *flags: str) -> None:
    sys.path.insert(0, comfyui)
    sys.argv = [sys.argv[0], *([] if torch.cuda.is_available() else ["--cpu"])]
    import comfy.options

    comfy.options.enable_args_parsing()
    spec = importlib.util.spec_from_file_location("pack", Path(__file__).parent.parent / "__init__.py")
    sys.modules["pack"] = importlib.util.module_from_spec(spec)  # loaded as ComfyUI loads a custom node pack
    spec.loader.exec_module(sys.modules["pack"])
    from pack.training.errors import UserError

    tiny = "--tiny" in flags
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    print(f"{device}, torch {torch.__version__}; LoRA of rank 16, one photo and one regularization image per step")
    opened: dict[str, tuple] = {}
    remaining = list(TINY if tiny else CASES)
    while remaining and time.monotonic() - START < float(seconds):
        case = remaining.pop(0)
        if case.model not in opened:
            opened.clear()
            _forget()
            opened[case.model] = opened_model(case.model, tiny)
        try:
            print(f"{case}: {timed(case, *opened[case.model])}", flush=True)
        except (RuntimeError, UserError) as error:  # includes out of memory
            print(f"{case}: {type(error).__name__}: {str(error)[:300]}", flush=True)
            opened.clear()  # the failed run may have left hooks on the model
    for case in remaining:
        print(f"{case}: no time left")


def opened_model(name: str, tiny: bool) -> tuple:
    """Returns MODEL, a stand-in for CLIP, and VAE, with random weights created on the GPU."""
    import comfy.ldm.models.autoencoder as autoencoder
    import comfy.ops
    import comfy.sd
    from comfy.ldm.flux.model import Flux
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    flux = name not in ("SD 1.5", "SDXL")
    network, config = (Flux, FLUX2) if flux else (UNetModel, SD15 if name == "SD 1.5" else SDXL)
    if tiny and flux:
        config = config | {"depth": 1, "depth_single_blocks": 1}
    with torch.inference_mode():
        state = random_state(network, operations=comfy.ops.disable_weight_init, **config)
        count = sum(weight.numel() for weight in state.values())
        model = comfy.sd.load_diffusion_model_state_dict(state, model_options={"dtype": torch.bfloat16})
        del state
        channels = 32 if flux else 4
        settings = {
            "double_z": True, "z_channels": channels, "resolution": 256, "in_channels": 3, "out_ch": 3, "ch": 128,
            "ch_mult": [1, 2, 4, 4], "num_res_blocks": 2, "attn_resolutions": [], "dropout": 0.0,
        } | ({"batch_norm_latent": True} if flux else {})  # fmt: skip
        decoder = {"decoder_ddconfig": settings} if flux else {}
        vae_state = random_state(autoencoder.AutoencoderKL, False, ddconfig=settings, embed_dim=channels, **decoder)
        if flux:
            vae_state["bn.running_var"] = vae_state["bn.running_var"].abs() + 0.5
        vae = comfy.sd.VAE(sd=vae_state)
    print(f"{name}: {count / 1e9:.2f} billion weights, {time.monotonic() - START:.0f} s from the start", flush=True)
    width = config["context_in_dim"] if flux else config["context_dim"]
    return model, RandomClip(512 if flux else 77, width, 1280 if name == "SDXL" else None), vae


def random_state(network: Callable, low: bool = True, **config: Any) -> dict[str, torch.Tensor]:
    """Returns random weights of about the magnitude of trained ones, in bfloat16 if ``low``."""
    device, dtype = "cuda" if torch.cuda.is_available() else "cpu", torch.bfloat16 if low else torch.float32
    with torch.device("meta"):
        shapes = network(**config, **({"dtype": dtype, "device": "meta"} if low else {})).state_dict()
    state = {}
    for key, value in shapes.items():
        weight = torch.empty(value.shape, dtype=dtype, device=device)
        if value.ndim >= 2:
            state[key] = weight.normal_(std=value[0].numel() ** -0.5)
        else:
            state[key] = weight.normal_(std=0.02) if key.endswith("bias") else weight.normal_(1, 0.05)
    return state


class RandomClip:
    """Replaces a text encoder, which is off the GPU while the network trains."""

    layer_idx = None

    def __init__(self, tokens: int, width: int, pooled: int | None):
        self.tokens, self.width, self.pooled = tokens, width, pooled
        self.patcher = SimpleNamespace(model_state_dict=lambda prefix=None: {}, patches={}, backup={})

    def tokenize(self, prompt: str) -> str:
        return prompt

    def encode_from_tokens_scheduled(self, prompt: str) -> list:
        pooled = torch.randn(1, self.pooled) if self.pooled else None
        return [[torch.randn(1, self.tokens, self.width), {"pooled_output": pooled}]]


def timed(case: Case, model: Any, clip: RandomClip, vae: Any) -> str:
    """Trains, and returns a line with times, memory and losses."""
    from pack.nodes.in_place.model import ComfyModel
    from pack.training.ages import AGE_CLASSES
    from pack.training.catalogue import UNTRAINED_FACENET, load_embedder
    from pack.training.config import TrainingConfig
    from pack.training.data.dataset import RegularizationSet, SubjectSet
    from pack.training.faces.find import Face
    from pack.training.pictures.photos import Photo
    from pack.training.runs.build import FaceNetworks, build_trainer
    from pack.training.runs.memory import count_memory

    side, cuda = case.side, torch.cuda.is_available()
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    photo = Photo("noise", Image.fromarray(noise))
    face = Face((0.25 * side, 0.25 * side, 0.7 * side, 0.75 * side))  # with context, most of the image
    config = TrainingConfig(**{"resolution": side, "crop": "photo", "random_flip": False} | case.settings)
    source = ComfyModel(model, clip, vae)
    trainer = build_trainer(
        source,
        SubjectSet([photo], [face], []),
        RegularizationSet([photo], [AGE_CLASSES[0]]),
        config,
        FaceNetworks(lambda image: [face], load_embedder(UNTRAINED_FACENET)),
    )
    start = time.monotonic()
    estimated = count_memory(trainer).needed(config.gradient_checkpointing)
    estimate_seconds = time.monotonic() - start
    if case.compiled:
        source.network.compile()
    if cuda:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    seconds: dict[str, list[float]] = {}
    for number in range(WARM + STEPS):
        start = time.monotonic()
        terms = trainer.step()
        if cuda:
            torch.cuda.synchronize()
        step_type = "with a reward" if "no face" in terms else "with a decode" if "biometric" in terms else "without"
        if number >= WARM:
            seconds.setdefault(step_type, []).append(time.monotonic() - start)
    peak = torch.cuda.max_memory_allocated() / 2**30 if cuda else float("nan")
    source.close()
    _forget()
    medians = ", ".join(
        f"{np.median(times):.3f} s per step {step_type}" for step_type, times in sorted(seconds.items())
    )
    mean = np.mean(np.concatenate(list(seconds.values())))
    return (
        f"{medians}; mean {mean:.3f} s, 800 steps {800 * mean:.0f} s; peak {peak:.2f} GiB, estimated "
        f"{estimated / 2**30:.2f} GiB in {estimate_seconds:.1f} s; losses "
        f"{min(map(min, map(dict.values, trainer.history))):.3g} to "
        f"{max(map(max, map(dict.values, trainer.history))):.3g}"
    )


def _forget() -> None:
    from pack.nodes.ui.device import make_room

    make_room()


if __name__ == "__main__":
    main(*sys.argv[1:])

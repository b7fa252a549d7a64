"""The bench command: cost of the identity loss, counted in FLOPs on the meta device and timed on this machine."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from training.ages import AGE_CLASSES
from training.catalogue import UNTRAINED_FACENET, load_embedder
from training.cli.console import say
from training.config import LORA_LAYERS, TrainingConfig
from training.data.dataset import RegularizationSet, SubjectSet
from training.dreambooth.batches import decode_probability
from training.dreambooth.trainer import Trainer
from training.faces.find import CROP_SCALE, Face
from training.models.levels import TIMESTEPS
from training.models.stable_diffusion.families import CONTEXT_LENGTH, END_OF_TEXT, SD1
from training.models.stable_diffusion.model import Model
from training.models.stable_diffusion.sampler import PREVIEW
from training.models.stable_diffusion.text import TextEncoder, new_tower
from training.models.stable_diffusion.unet import UNetDenoiser
from training.models.stable_diffusion.vae import LatentCodec
from training.options import check, option
from training.pictures.photos import Photo
from training.runs.build import FaceNetworks, build_trainer
from training.runs.evaluations import PREVIEW_EVERY

MEAN_DECODES = decode_probability(torch.arange(TIMESTEPS), TIMESTEPS).mean().item()  # share of steps that decode a face
REWARD_EVERY = 12  # steps, in the second half of training
WINDOW = 40  # side of the decoded face window in a portrait, in latents of 64
UNET = {"sample_size": 64, "cross_attention_dim": 768}  # diffusers' defaults match SD 1.5 except for these
VAE = {
    "block_out_channels": (128, 256, 512, 512),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 2,
    "scaling_factor": SD1.latent_scale,
}


@dataclass(frozen=True)
class BenchOptions:
    """Settings of the timing."""

    resolution: int = option(128, help="side of the images in the timing, px", low=64, high=2048, multiple=64)
    steps: int = option(3, help="timed steps per kind", low=1)

    def __post_init__(self):
        check(self)


def bench(options: BenchOptions) -> int:
    """Prints FLOPs at 512 px, and seconds at ``resolution`` as the median over ``steps`` steps per kind."""
    say(*_counted(), "", *_timed(options.resolution, options.steps))
    return 0


def _counted() -> list[str]:
    """Counts FLOPs of an SD 1.5 DreamBooth step (one photo, one regularization image) and a decode, with backward."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from facenet_pytorch import InceptionResnetV1
    from torch.utils.flop_counter import FlopCounterMode

    def flops(module: torch.nn.Module, shape: tuple[int, ...], through_input: bool = True, backward=True) -> float:
        inputs = torch.empty(shape, requires_grad=through_input)
        with FlopCounterMode(display=False) as counter:
            output = module(inputs)
            if backward:
                output.backward(torch.empty_like(output))
        return counter.get_total_flops() / 1e12

    with torch.device("meta"):
        unet = UNet2DConditionModel(**UNET)
        hidden, t = torch.empty(2, CONTEXT_LENGTH, 768), torch.empty(2)
        step = _Output(lambda latents: unet(latents, t, hidden).sample)
        full = flops(step, (2, 4, 64, 64), through_input=False)
        with torch.no_grad():
            sampling = flops(step, (2, 4, 64, 64), backward=False)
        _add_attention_lora(unet)
        lora = flops(step, (2, 4, 64, 64), through_input=False)
        face = flops(InceptionResnetV1().eval().requires_grad_(False), (1, 3, 160, 160))
        decodes, pictures = {}, {}
        for name, vae in (("own VAE", AutoencoderKL(**VAE)), ("tiny VAE", AutoencoderTiny())):
            vae.requires_grad_(False)
            decoder = _Output(lambda x, vae=vae: vae.decode(x).sample)
            decodes[name] = flops(decoder, (1, 4, WINDOW, WINDOW))
            with torch.no_grad():
                pictures[name] = flops(decoder, (1, 4, 64, 64), backward=False)
    lines = [f"SD 1.5, 512 px, one photo and one regularization image per step, face window {WINDOW}x{WINDOW}; TFLOP:"]
    lines.append(f"  UNet, full {full:.2f}, LoRA on attention {lora:.2f}; FaceNet {face:.3f}")
    for name, decode in decodes.items():
        extra = MEAN_DECODES * (decode + face)
        ratios = ", ".join(f"{method} {1 + extra / plain:.3f}" for method, plain in (("full", full), ("LoRA", lora)))
        lines.append(f"  decode {decode:.3f} with the {name}; mean identity step / plain step: {ratios}")
    look = len(AGE_CLASSES) * (PREVIEW.steps * sampling + pictures["own VAE"])
    extra = MEAN_DECODES * (decodes["own VAE"] + face)
    shares = ", ".join(
        f"{method} {look / (PREVIEW_EVERY * (plain + extra)):.1%}" for method, plain in (("full", full), ("LoRA", lora))
    )
    lines.append(
        f"  a look {look:.1f}, every {PREVIEW_EVERY} steps with the biometric loss: {shares} of the training cost"
    )
    for name, decode in decodes.items():
        evaluation = pictures[name] + 1.5 * decode  # one forward pass, and one backward pass per term
        lines.append(_reward(name, evaluation, sampling, {"full": full, "LoRA": lora}))
    return lines


def _reward(vae: str, evaluation: float, sampling: float, plain: dict[str, float]) -> str:
    """Returns a line with the reward's cost, from TFLOP per image ``evaluation`` and per guided ``sampling`` step."""
    config, ratios = TrainingConfig(), []
    for method, step in plain.items():
        trained = step / 2  # one of the step's two rows
        reward = config.reward_pictures * ((config.reward_steps - 1) * sampling + trained + evaluation)
        per_step = (1 - config.reward_start) / REWARD_EVERY
        ratios.append(f"{method} {1 + per_step * reward / step:.3f}")
    return f"  a reward every {REWARD_EVERY} steps, with the {vae}; mean step / plain step: {', '.join(ratios)}"


class _Output(torch.nn.Module):
    """Wraps a function as a module, which FlopCounterMode needs."""

    def __init__(self, function: Callable):
        super().__init__()
        self.forward = function


def _add_attention_lora(unet: torch.nn.Module) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    unet.requires_grad_(False)
    settings = LoraConfig(
        r=16, lora_alpha=16, target_modules=list(LORA_LAYERS["attention"]), init_lora_weights="gaussian"
    )
    inject_adapter_in_model(settings, unet)


def _timed(resolution: int, steps: int) -> list[str]:
    device = "cpu"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
    lines = [f"{device}, {resolution} px, SD 1.5's architecture, batch 2 (one photo, one regularization image):"]
    plain = _plain_lora_step(resolution)
    lines.append(f"  LoRA step in plain diffusers + peft: {_median(plain, steps):.2f} s")
    for method in ("lora", "full"):
        lines.append(_time_method(method, resolution, steps))
    return lines


def _time_method(method: str, resolution: int, steps: int) -> str:
    config = TrainingConfig(method=method, resolution=resolution, crop="photo", random_flip=False)
    trainer = _trainer(config, resolution)
    trainer.step()  # warm-up: computes latents and reference embeddings
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    seconds: dict[bool, list[float]] = {True: [], False: []}
    while min(map(len, seconds.values())) < steps:
        start = time.perf_counter()
        losses = trainer.step()
        seconds["biometric" in losses].append(time.perf_counter() - start)
    without, decoding = (float(np.median(seconds[with_decode])) for with_decode in (False, True))
    ratio = 1 + MEAN_DECODES * (decoding / without - 1)
    memory = f"; peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB" if torch.cuda.is_available() else ""
    return (
        f"  {method}: {without:.2f} s without and {decoding:.2f} s with a decode; mean identity step / plain step "
        f"{ratio:.2f}{memory}"
    )


def _trainer(config: TrainingConfig, side: int) -> Trainer:
    """Returns a trainer of SD 1.5's size on a noise image whose face window is WINDOW of 64 latents wide."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
    from transformers import CLIPTextConfig

    text = CLIPTextConfig(
        vocab_size=END_OF_TEXT + 1,
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
    )
    encoder = TextEncoder(SD1, [new_tower(text, SD1.towers[0])])
    denoiser = UNetDenoiser(UNet2DConditionModel(**UNET), encoder).eval()
    model = Model(SD1, denoiser, LatentCodec(AutoencoderKL(**VAE).requires_grad_(False)), "random weights", sha256="")
    noise = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    photo = Photo("noise", Image.fromarray(noise))
    half = (WINDOW * side / 64 / 8 - 4) * 8 / CROP_SCALE / 2  # with its context it fills the window
    face = Face((side / 2 - half, side / 2 - half, side / 2 + half, side / 2 + half))
    return build_trainer(
        model,
        SubjectSet([photo], [face], []),
        RegularizationSet([photo], [AGE_CLASSES[0]]),
        config,
        FaceNetworks(embedder=load_embedder(UNTRAINED_FACENET)),
    )


def _plain_lora_step(resolution: int) -> Callable[[], None]:
    """Returns a LoRA step as in a plain diffusers script, with precomputed latents and text embeddings."""
    from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    unet = UNet2DConditionModel(**UNET).to(device, dtype)
    _add_attention_lora(unet)
    optimizer = torch.optim.AdamW([weight for weight in unet.parameters() if weight.requires_grad], lr=1e-4)
    latents = torch.randn(2, 4, resolution // 8, resolution // 8, device=device)
    hidden = torch.randn(2, CONTEXT_LENGTH, 768, device=device, dtype=dtype)

    def step() -> None:
        with torch.autocast(device, dtype, enabled=device == "cuda"):
            output = unet(latents.to(dtype), torch.tensor([100, 800], device=device), hidden).sample
        torch.nn.functional.mse_loss(output.float(), latents).backward()
        optimizer.step()
        optimizer.zero_grad()
        if device == "cuda":
            torch.cuda.synchronize()

    return step


def _median(step: Callable[[], None], steps: int) -> float:
    step()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))

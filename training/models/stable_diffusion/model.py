"""A Stable Diffusion model: UNet, text encoder and VAE together, and its state dict in single-file keys."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ...config import TrainingConfig
from ...weights import digest
from ..convolutions import fast_convolutions
from ..fingerprint import fingerprint
from ..interface import Preset, StateDict, starting_noise
from . import keys
from .families import Family, native_resolution
from .lora import add_lora, lora_state_dict, without_lora
from .sampler import PREVIEW, sample
from .text import TextTower
from .unet import UNetDenoiser
from .vae import LatentCodec


@dataclass
class Model:
    """A diffusion model in diffusers' and transformers' modules; float32, frozen and on the CPU when opened."""

    family: Family
    denoiser: UNetDenoiser  # holds the UNet and the text encoder
    codec: LatentCodec
    name: str
    sha256: str  # of the UNet before training, as float16; the same for every file format
    unmapped: StateDict = field(default_factory=dict)  # the checkpoint's other tensors, kept for saving
    fingerprint: str = ""  # of the same UNet; identifies the base of a subject trained in place
    remarks: list[str] = field(default_factory=list)
    guidance = 3.0  # when sampling in a few steps
    _before: UNetDenoiser | None = field(
        default=None, init=False, repr=False
    )  # the base model, for a full fine-tune with an anchor

    @property
    def resolution(self) -> int:
        """Side of the images that the model was trained on, px."""
        return native_resolution(self.family.name, self.denoiser.prediction_type, self.family.resolution)

    def to(self, device: torch.device, dtype: torch.dtype) -> "Model":
        """Moves the model to ``device`` and its networks to ``dtype``; the noise schedule keeps its precision."""
        self.denoiser.to(device)
        for module in (self.denoiser.unet, self.denoiser.text, self.codec):
            module.to(device, dtype)
        return self

    def inputs(self) -> dict[str, Any]:
        """Hashes, by name, of everything in the model that the training result depends on."""
        return {
            "UNet": digest(self.denoiser.unet.state_dict()),
            "prediction type": self.denoiser.prediction_type,
            "noise schedule": digest({"alphas_cumprod": self.denoiser.alphas_cumprod}),
            "text encoder": digest(self.denoiser.text.state_dict()),
            "VAE": digest(self.codec.state_dict()),
        }

    def prepare(self, config: TrainingConfig, precision: str, device: torch.device) -> None:
        """Casts a frozen UNet to ``precision`` and selects the fastest layout. Moves only the VAE to ``device``."""
        unet = self.denoiser.unet
        if config.method == "lora" and precision != "no":
            unet.to(torch.bfloat16 if precision == "bf16" else torch.float16)
        unet.to(memory_format=torch.channels_last)  # the fastest layout for convolutions on GPU and CPU
        self.codec.to(device).to(memory_format=torch.channels_last)

    def freeze_text(self, prompts: list[str]) -> None:
        """Encodes ``prompts`` once; after that, only these can be used."""
        self.denoiser.text.freeze(prompts)

    def release_text(self) -> None:
        """Moves the text encoder, which is no longer needed, to the CPU."""
        self.denoiser.text.to("cpu")

    def choose_trainable(self, config: TrainingConfig) -> None:
        """Makes trainable what ``config`` selects: a new LoRA, or every weight of the UNet and of the text encoder."""
        unet = self.denoiser.unet
        if config.method == "lora":
            add_lora(self.denoiser, config)
        else:
            if config.reward_every and config.reward_anchor:
                self._before = self._copy(config.trains_text_encoder)
            unet.requires_grad_(True)
            self.denoiser.text.requires_grad_(config.trains_text_encoder)
        self.checkpoint_blocks(config.gradient_checkpointing)

    def _copy(self, with_text: bool) -> UNetDenoiser:
        """A copy of the denoiser on the codec's device; nothing else will move it there."""
        text = self.denoiser.text
        shared = {} if with_text else {id(text): text}
        return copy.deepcopy(self.denoiser, shared).to(next(self.codec.parameters()).device)

    def checkpoint_blocks(self, on: bool) -> None:
        """Turns gradient checkpointing on or off, in the UNet and in a VAE that is not tiny."""
        for network in (self.denoiser.unet, *([] if self.codec.is_tiny else [self.codec.vae])):
            if on:
                network.enable_gradient_checkpointing()
            else:
                network.disable_gradient_checkpointing()

    def saved_size(self, method: str) -> int:
        """How many numbers ``trained`` holds at most."""
        if method == "lora":
            return sum(weight.numel() for weight in self.denoiser.parameters() if weight.requires_grad)
        return sum(weight.numel() for part in self.held() for weight in part.parameters())

    def close(self) -> None:
        """Nothing to free: the model goes with its last reference."""

    def held(self) -> list[nn.Module]:
        """The modules that stay in memory during training."""
        return [self.denoiser, self.codec]

    def untrained(self) -> AbstractContextManager[UNetDenoiser]:
        """The denoiser before training: with its LoRA off, or the copy that a full fine-tune with an anchor keeps."""
        return nullcontext(self._before) if self._before else without_lora(self.denoiser)

    def stepping(self, resolution: int) -> AbstractContextManager:
        """Selects the fastest convolutions for images of ``resolution`` px."""
        unet = self.denoiser.unet
        deepest = resolution // 8 // 2 ** (len(unet.config.block_out_channels) - 1)
        return fast_convolutions(unet.device, deepest)

    def generate(
        self,
        prompts: list[str],
        resolution: int,
        seed: int,
        preset: Preset | None = None,
        batch_size: int = 2,
        progress: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Generates one image per prompt, all from the same noise: [B, 3, H, W] in [-1, 1] on the CPU.

        Without a ``preset``, samples in few steps for a preview.
        """
        noise = starting_noise(self.codec, resolution, seed)
        return sample(
            self.denoiser, self.codec, prompts, noise, preset or PREVIEW, batch_size=batch_size, progress=progress
        )

    def trained(self, method: str, lora_alpha: float) -> StateDict:
        """The LoRA in kohya's keys, or every weight in the single-file layout."""
        return lora_state_dict(self.denoiser, lora_alpha) if method == "lora" else model_to_state_dict(self)


def model_to_state_dict(model: Model) -> StateDict:
    """The model's tensors in the single-file layout, without copies if the layout allows it."""
    state = model.unmapped | unet_to_state_dict(model.denoiser.unet)
    state |= vae_to_state_dict(model.codec.vae)
    for tower in model.denoiser.text.towers:
        state |= tower_to_state_dict(tower)
    return state


def unet_to_state_dict(unet: nn.Module) -> StateDict:
    """The UNet's tensors in the single-file keys."""
    weights = unet.state_dict()
    return {theirs: weights[ours] for ours, theirs in keys.unet_keys(unet).items()}


def vae_to_state_dict(vae: nn.Module) -> StateDict:
    """The VAE's tensors in the single-file layout, which stores attention's linear layers as 1x1 convolutions."""
    names, state = keys.vae_keys(vae), {}
    for key, value in vae.state_dict().items():
        linear = "attentions" in key and value.ndim == 2
        state[names[key]] = value[:, :, None, None] if linear else value
    return state


def tower_to_state_dict(tower: TextTower) -> StateDict:
    """A text tower's tensors in the single-file keys."""
    write = keys.open_clip_to_checkpoint if tower.spec.open_clip else keys.clip_to_checkpoint
    return write(tower.state_dict(), tower.spec.prefix)


def unet_fingerprint(unet: nn.Module) -> str:
    """Identifies the UNet as the base model of a subject that was trained in place."""
    weights = unet_to_state_dict(unet)
    return fingerprint({key.removeprefix(keys.UNET_PREFIX): value for key, value in weights.items()})


def unet_sha256(unet: nn.Module) -> str:
    """SHA-256 of the UNet as float16. Does not depend on the file format."""
    return digest({key: value.half() for key, value in unet_to_state_dict(unet).items()})

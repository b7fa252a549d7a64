"""What a trainer asks of a model, whoever holds its network: diffusers (checkpoint.Model) or ComfyUI (in the nodes)."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ..config import TrainingConfig
from .denoiser import Denoiser

StateDict = dict[str, Tensor]


@dataclass(frozen=True)
class Preset:
    """Settings of a sampler."""

    scheduler: str  # class name in diffusers
    steps: int
    guidance: float


class Kind(Protocol):
    """A family of models."""

    @property
    def name(self) -> str:
        """As people and subject files call it."""


class Codec(Protocol):
    """Pixels to latents as the network sees them, and back."""

    factor: int  # px a latent

    def shape(self, width: int, height: int) -> tuple[int, ...]:
        """Of the latents of one picture of so many px: [C, h, w], or [C, 1, h, w] of a model of videos."""

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of the latents of ``pixels`` [B, 3, H, W] in [-1, 1]."""

    def decode(self, latents: Tensor) -> Tensor:
        """Pixels [B, 3, H, W], about [-1, 1], float32. Gradients flow through."""

    def to(self, *arguments: Any, **options: Any) -> Any:
        """As a torch module's."""


def starting_noise(codec: Codec, resolution: int, seed: int) -> Tensor:
    """The noise [1, C, ..., h, w] of ``seed`` for a square image; sampled on the CPU, so it is the same everywhere."""
    return torch.randn(1, *codec.shape(resolution, resolution), generator=torch.Generator().manual_seed(seed))


class TrainableModel(Protocol):
    """A network, its text encoder and its VAE."""

    name: str  # file name, or where it comes from
    sha256: str  # of the network before training
    fingerprint: str  # of the network, independent of how it was opened
    remarks: list[str]  # sentences about what cannot be trained

    @property
    def family(self) -> Kind:
        """Which it is of."""

    @property
    def denoiser(self) -> Denoiser:
        """The network with its text encoder; the parameters that are trained are among its own."""

    @property
    def codec(self) -> Codec:
        """Its VAE."""

    @property
    def resolution(self) -> int:
        """Side of the pictures that it was trained on, px."""

    @property
    def guidance(self) -> float:
        """How far drawings in a few steps go beyond the unconditional prediction; 1: it is not asked for."""

    def inputs(self) -> dict[str, Any]:
        """What the result of a training takes from it, by name."""

    def prepare(self, config: TrainingConfig, precision: str, device: torch.device) -> None:
        """Into the number format "no" (float32), "bf16" or "fp16" and onto ``device``, before anything is trained."""

    def freeze_text(self, prompts: list[str]) -> None:
        """Encodes ``prompts`` once; from here on only these can be asked for."""

    def release_text(self) -> None:
        """Takes the text encoder, which is not asked any more, off the device."""

    def choose_trainable(self, config: TrainingConfig) -> None:
        """Lets gradients reach what ``config`` trains, and nothing else."""

    def untrained(self) -> AbstractContextManager[Denoiser]:
        """The network as it was before training, for the anchor of ``config``. Nothing is trained meanwhile."""

    def checkpoint_blocks(self, on: bool) -> None:
        """Whether activations are computed again in the backward pass instead of kept."""

    def saved_size(self, method: str) -> int:
        """How many numbers ``trained`` holds at most."""

    def close(self) -> None:
        """Frees what the training took. The model cannot be trained afterwards."""

    def held(self) -> list[nn.Module]:
        """Whatever has weights that stay in memory while it is trained."""

    def stepping(self, resolution: int) -> AbstractContextManager:
        """Holds from the forward pass of a step to the end of its backward pass."""

    def draw(
        self,
        prompts: list[str],
        resolution: int,
        seed: int,
        preset: Preset | None,
        batch_size: int,
        progress: Callable[[], None],
    ) -> Tensor:
        """Pictures [B, 3, H, W] in [-1, 1] on the CPU, one a prompt, from one noise; quickly where no ``preset`` is."""

    def trained(self, method: str, lora_alpha: float) -> StateDict:
        """What was trained: a LoRA's tensors, or those of a whole checkpoint, in the keys that other tools read."""

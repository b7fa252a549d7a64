"""What the trainer needs from a model. The command line implements it with diffusers, the nodes with ComfyUI."""

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
    """Sampler settings."""

    scheduler: str  # class name in diffusers
    steps: int
    guidance: float


class ModelFamily(Protocol):
    """A family of models, such as SDXL."""

    @property
    def name(self) -> str:
        """The name shown to users and written into subject files."""


class Codec(Protocol):
    """Encodes pixels to the latents that the network is trained on, and decodes them."""

    name: str  # which VAE it is, in messages
    factor: int  # px per latent

    def shape(self, width: int, height: int) -> tuple[int, ...]:
        """The shape of one image's latents, for its size in px: [C, h, w], or [C, 1, h, w] for video models."""

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the mean and standard deviation of the latents of ``pixels`` [B, 3, H, W] in [-1, 1]."""

    def decode(self, latents: Tensor) -> Tensor:
        """Returns float32 pixels [B, 3, H, W], about [-1, 1]. Differentiable."""

    def to(self, *arguments: Any, **options: Any) -> Any:
        """Moves or casts the codec, like ``torch.nn.Module.to``."""


def starting_noise(codec: Codec, resolution: int, seed: int) -> Tensor:
    """The noise [1, C, ..., h, w] of ``seed`` for a square image; sampled on the CPU, so it is the same everywhere."""
    return torch.randn(1, *codec.shape(resolution, resolution), generator=torch.Generator().manual_seed(seed))


class TrainableModel(Protocol):
    """A network, its text encoder and its VAE."""

    name: str  # file name or source
    sha256: str  # of the network before training
    fingerprint: str  # of the network, independent of how it was opened
    remarks: list[str]  # sentences about parts that cannot be trained

    @property
    def family(self) -> ModelFamily:
        """The family that the model belongs to."""

    @property
    def denoiser(self) -> Denoiser:
        """The network with its text encoder. It holds all trained parameters."""

    @property
    def codec(self) -> Codec:
        """The VAE."""

    @property
    def resolution(self) -> int:
        """Side of the images that the base model was trained on, px."""

    @property
    def guidance(self) -> float:
        """Guidance scale for sampling in a few steps; 1 disables guidance."""

    def inputs(self) -> dict[str, Any]:
        """Everything about the model that a training's result depends on, by name."""

    def prepare(self, config: TrainingConfig, precision: str, device: torch.device) -> None:
        """Casts to ``precision``, "no" (float32), "bf16" or "fp16", and moves to ``device``. Call before training."""

    def freeze_text(self, prompts: list[str]) -> None:
        """Encodes ``prompts`` once; afterwards no other prompts can be used."""

    def release_text(self) -> None:
        """Moves the text encoder off the device, since it is no longer needed."""

    def choose_trainable(self, config: TrainingConfig) -> None:
        """Enables gradients for the parameters that ``config`` trains, and for no others."""

    def untrained(self) -> AbstractContextManager[Denoiser]:
        """A context with the network as it was before training, for the anchor. Do not train inside it."""

    def checkpoint_blocks(self, on: bool) -> None:
        """Turns gradient checkpointing on or off: activations are recomputed in the backward pass instead of kept."""

    def saved_size(self, method: str) -> int:
        """The largest count of numbers that ``trained`` can return."""

    def close(self) -> None:
        """Frees the resources of the training. The model cannot be trained afterwards."""

    def held(self) -> list[nn.Module]:
        """The modules whose weights stay in memory during training."""

    def stepping(self, resolution: int) -> AbstractContextManager:
        """A context for one training step, from the start of its forward pass to the end of its backward pass."""

    def generate(
        self,
        prompts: list[str],
        resolution: int,
        seed: int,
        preset: Preset | None,
        batch_size: int,
        progress: Callable[[], None],
    ) -> Tensor:
        """Generates images [B, 3, H, W] in [-1, 1] on the CPU, one per prompt, all from the noise of ``seed``.

        Without ``preset``, the model's fast preview sampler is used.
        """

    def trained(self, method: str, lora_alpha: float) -> StateDict:
        """The trained tensors under the keys that other tools read: a LoRA, or a whole checkpoint."""

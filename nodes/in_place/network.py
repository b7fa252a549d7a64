"""ComfyUI's diffusion model as a denoiser, with its own modules, noise levels and conditioning."""

import re
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import comfy.model_management
import comfy.sampler_helpers
import comfy.samplers
import torch
from comfy.ldm.modules.attention import attention_pytorch
from torch import Tensor, nn

from ...training.errors import UnsupportedModel
from ...training.models.denoiser import Denoiser
from ...training.models.levels import NoiseLevels
from .experts import sigma_range
from .identity import guidance_distilled
from .levels import levels_of, prediction_type, quantile_range

NEEDS_IMAGE = "This MODEL needs an image or a mask as input (inpainting, editing). Use the text-to-image version of it."
DISTILLED_GUIDANCE = 1.0  # for guidance-distilled networks; 1 fits the photos as they are, without amplification


class ComfyDenoiser(Denoiser):
    """(x_t, t, prompts) -> the output of the MODEL in ``patcher``. Only the adapters on it are trained.

    For epsilon and v, x_t is x_0 + sigma e, as in ComfyUI. Raises UserError if this may be one of Wan 2.2's experts and
    nothing says which.
    """

    levels: NoiseLevels
    sigmas: Tensor
    sigma_range: tuple[float, float] | None  # the network's own if it is one of several experts; None: all levels
    patcher: Any  # a ModelPatcher

    def __init__(self, patcher):
        super().__init__()
        self.__dict__["patcher"] = patcher  # not a submodule: its weights are not ours
        self.prediction_type = prediction_type(patcher.get_model_object("model_sampling"))
        self.sigma_range = sigma_range(patcher)
        self.adapters = nn.ModuleDict()
        self.prompts: dict[str, Any] = {}  # ComfyUI's CONDITIONING for each prompt
        self._prepared: dict[tuple, dict[str, Any]] = {}
        self.sample_timesteps(None)

    @property
    def patched(self) -> bool:
        """Whether nodes such as FreeU have patched functions into the network."""
        return "patches" in self.patcher.model_options.get("transformer_options", {})

    def sample_timesteps(self, sampling: str | None) -> None:
        """Sets how often training visits each noise level of the network's own range.

        Raises UserError for "shifted", which is for flow models.
        """
        model_sampling = self.patcher.get_model_object("model_sampling")
        if self.sigma_range:
            self.quantiles = quantile_range(model_sampling, sampling, self.sigma_range)
        self.levels, sigmas = levels_of(model_sampling, sampling, self.quantiles)
        self.register_buffer("sigmas", sigmas, persistent=False)

    def forward(self, x_t: Tensor, t: Tensor, prompts: list[str]) -> Tensor:
        """Prediction [B, C, ...], float32, for latents ``x_t`` [B, C, ...] at ``t``."""
        with torch.autocast(x_t.device.type, enabled=False):  # ComfyUI casts by itself
            return self.levels.prediction(self.denoised(x_t, self.sigmas[t], prompts), x_t, t)

    def denoised(self, x_t: Tensor, sigma: Tensor, prompts: list[str]) -> Tensor:
        """D(x_t; sigma): the clean latents. Runs prompts whose conditioning has the same shape in one pass.

        Runs every row alone on a patched model: some patches, such as PatchModelAddDownscale's, read the sigma of the
        first row only.
        """
        groups: list[list[int]] = []
        for row, prompt in enumerate(prompts):
            conditions = self._conditions(prompt, x_t)
            fitting = (group for group in groups if _can_batch(self._conditions(prompts[group[0]], x_t), conditions))
            group = None if self.patched else next(fitting, None)
            if group is None:
                groups.append([row])
            else:
                group.append(row)
        result: list[Tensor | None] = [None] * len(prompts)
        for rows in groups:
            first, *others = (self._conditions(prompts[row], x_t) for row in rows)
            joined = {name: value.concat([other[name] for other in others]) for name, value in first.items()}
            outputs = self.patcher.model.apply_model(
                x_t[rows], sigma[rows], **joined, transformer_options=self._options(sigma[rows])
            )
            for row, latents in zip(rows, outputs, strict=True):
                result[row] = latents
        return torch.stack([latents for latents in result if latents is not None])

    @torch.no_grad()  # some models compute it with layers of the network, and it is cached across steps
    def _conditions(self, prompt: str, x: Tensor) -> dict[str, Any]:
        """The model's conditioning for one prompt and an image of the shape of ``x``.

        Raises UserError if the model needs an image or a mask, which a prompt does not provide.
        """
        key = prompt, x.shape[1:], x.device
        if key not in self._prepared:
            # Others get what ComfyUI feeds when no node sets a guidance, such as 0 for Chroma, which knows no other.
            guidance = {"guidance": DISTILLED_GUIDANCE} if guidance_distilled(self.patcher) else {}
            conditioning = [[cond, {**extra, **guidance}] for cond, extra in self.prompts[prompt]]
            empty = torch.zeros_like(x[:1])
            (condition,) = comfy.samplers.encode_model_conds(
                self.patcher.model.extra_conds,
                comfy.sampler_helpers.convert_cond(conditioning),
                empty,
                x.device,
                "positive",
                latent_image=empty,
            )
            self._prepared[key] = {
                name: value.process_cond(batch_size=1, area=None) for name, value in condition["model_conds"].items()
            }
            image = self._prepared[key].get("c_concat")
            if image is not None and image.cond.any():  # all zeros for image-to-video models, which also work without
                raise UnsupportedModel(NEEDS_IMAGE)
        return self._prepared[key]

    def _options(self, sigma: Tensor) -> dict[str, Any]:
        options = self.patcher.model_options.get("transformer_options", {})
        return {**options, "optimized_attention_override": _attention, "sigmas": sigma, "cond_or_uncond": [0]}


def _can_batch(first: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two conditionings fit in one batch without padding or other changes."""
    return first.keys() == other.keys() and all(
        type(value) is type(other[name]) and value.size() == other[name].size() and value.can_concat(other[name])
        for name, value in first.items()
    )


def _attention(chosen: Callable, *arguments: Any, **options: Any) -> Tensor:
    """PyTorch's attention. ComfyUI's other implementations have no backward pass, or split it."""
    return attention_pytorch(*arguments, **options)


@contextmanager
def differentiable_kernels() -> Generator[None, None, None]:
    """Makes rotary embeddings and modulated norms differentiable inside the context.

    Some networks always call comfy_kitchen's kernels, which have no backward pass. This replaces them with
    comfy_kitchen's plain PyTorch versions of the same names.
    """
    kitchen: Any = sys.modules.get("comfy_kitchen")  # older ComfyUI does not use it
    plain = getattr(getattr(kitchen, "backends", None), "eager", None)
    names = [name for name in dir(plain) if re.search("rope|adaln", name) and hasattr(kitchen, name)] if plain else []
    before = {name: getattr(kitchen, name) for name in names if callable(getattr(plain, name))}
    for name in before:
        setattr(kitchen, name, getattr(plain, name))
    try:
        yield
    finally:
        for name, function in before.items():
            setattr(kitchen, name, function)

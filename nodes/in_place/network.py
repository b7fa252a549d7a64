"""ComfyUI's diffusion model as our denoiser: its own modules, its own noise levels, its own conditioning."""

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

from ...training.errors import UserError
from ...training.models.denoiser import Denoiser
from ...training.models.levels import NoiseLevels
from .levels import levels_of, prediction_type

READS_PICTURES = (
    "This MODEL reads a picture or a mask beside the noise (inpainting, editing). Use its text-to-image sibling."
)
GUIDANCE = 1.0  # at which models that read their guidance are trained: what is in the photos, not more of it


class ComfyDenoiser(Denoiser):
    """(x_t, t, prompts) -> the output of the MODEL in ``patcher``; the adapters on it are all that is trained.

    For epsilon and v, x_t is x_0 + sigma e, as ComfyUI has it.
    """

    levels: NoiseLevels
    sigmas: Tensor
    patcher: Any  # a ModelPatcher

    def __init__(self, patcher):
        super().__init__()
        self.__dict__["patcher"] = patcher  # no torch module, and its model is none of ours
        self.prediction_type = prediction_type(patcher.get_model_object("model_sampling"))
        self.adapters = nn.ModuleDict()
        self.prompts: dict[str, Any] = {}  # ComfyUI's CONDITIONING of each
        self._prepared: dict[tuple, dict[str, Any]] = {}
        self.sample_timesteps(None)

    @property
    def patched(self) -> bool:
        """Whether nodes such as FreeU have put functions of their own between its layers."""
        return "patches" in self.patcher.model_options.get("transformer_options", {})

    def sample_timesteps(self, sampling: str | None) -> None:
        """Raises UserError for "shifted" where the model has no shift."""
        self.levels, sigmas = levels_of(self.patcher.get_model_object("model_sampling"), sampling)
        self.register_buffer("sigmas", sigmas, persistent=False)

    def forward(self, x_t: Tensor, t: Tensor, prompts: list[str]) -> Tensor:
        """Prediction [B, C, ...], float32, for latents ``x_t`` [B, C, ...] at ``t``."""
        with torch.autocast(x_t.device.type, enabled=False):  # the number format is ComfyUI's business here
            return self.levels.prediction(self.denoised(x_t, self.sigmas[t], prompts), x_t, t)

    def denoised(self, x_t: Tensor, sigma: Tensor, prompts: list[str]) -> Tensor:
        """D(x_t; sigma): the clean latents, one pass for all prompts whose conditioning has one shape.

        Patches, such as those of PatchModelAddDownscale, ask for one sigma of all rows: there each goes by itself.
        """
        groups: list[list[int]] = []
        for row, prompt in enumerate(prompts):
            conditions = self._conditions(prompt, x_t)
            like = (group for group in groups if _fit(self._conditions(prompts[group[0]], x_t), conditions))
            group = None if self.patched else next(like, None)
            if group is None:
                groups.append([row])
            else:
                group.append(row)
        result: list[Tensor | None] = [None] * len(prompts)
        for rows in groups:
            first, *others = (self._conditions(prompts[row], x_t) for row in rows)
            joined = {name: one.concat([other[name] for other in others]) for name, one in first.items()}
            found = self.patcher.model.apply_model(
                x_t[rows], sigma[rows], **joined, transformer_options=self._options(sigma[rows])
            )
            for row, latents in zip(rows, found, strict=True):
                result[row] = latents
        return torch.stack([latents for latents in result if latents is not None])

    @torch.no_grad()  # some ask layers of the network for it, and it is kept for other steps
    def _conditions(self, prompt: str, x: Tensor) -> dict[str, Any]:
        """What the model makes of a prompt for one picture of the shape of ``x``.

        Raises UserError where it reads a picture or a mask that no prompt gives.
        """
        key = prompt, x.shape[1:], x.device
        if key not in self._prepared:
            conditioning = [[cond, {**extra, "guidance": GUIDANCE}] for cond, extra in self.prompts[prompt]]
            one = torch.zeros_like(x[:1])
            (condition,) = comfy.samplers.encode_model_conds(
                self.patcher.model.extra_conds,
                comfy.sampler_helpers.convert_cond(conditioning),
                one,
                x.device,
                "positive",
                latent_image=one,
            )
            self._prepared[key] = {
                name: value.process_cond(batch_size=1, area=None) for name, value in condition["model_conds"].items()
            }
            beside = self._prepared[key].get("c_concat")
            if beside is not None and beside.cond.any():  # models of videos that go on from a picture take none, too
                raise UserError(READS_PICTURES)
        return self._prepared[key]

    def _options(self, sigma: Tensor) -> dict[str, Any]:
        chosen = self.patcher.model_options.get("transformer_options", {})
        return {**chosen, "optimized_attention_override": _attention, "sigmas": sigma, "cond_or_uncond": [0]}


def _fit(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two conditions go through the model in one batch, neither of them changed."""
    return one.keys() == other.keys() and all(
        type(value) is type(other[name]) and value.size() == other[name].size() and value.can_concat(other[name])
        for name, value in one.items()
    )


def _attention(chosen: Callable, *arguments: Any, **options: Any) -> Tensor:
    """PyTorch's own attention: the others that ComfyUI knows have no backward pass, or split it."""
    return attention_pytorch(*arguments, **options)


@contextmanager
def differentiable_kernels() -> Generator[None, None, None]:
    """Rotary embeddings and modulated norms have a gradient meanwhile.

    Some networks call these of comfy_kitchen without asking whether they train, and it knows no gradient of them. Its
    versions in plain PyTorch, by the same names, have one.
    """
    kitchen: Any = sys.modules.get("comfy_kitchen")  # older ComfyUI does without
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

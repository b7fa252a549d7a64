"""A MODEL, CLIP and VAE trained in place: nothing is copied, and what the graph loaded stays as it is."""

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import comfy.model_management
import comfy.sample
import comfy.utils
import torch
from comfy.patcher_extension import PatcherInjection
from torch import Tensor, nn

from ...training.config import TrainingConfig
from ...training.errors import UserError
from ...training.models.convolutions import fast_convolutions
from ...training.models.fingerprint import fingerprint
from ...training.models.inplace import Lora, Undo, blocks, copy_norm_inputs, is_layer, wrap_block, wrap_layer
from ...training.models.interface import Preset, StateDict, starting_noise
from ...training.models.stable_diffusion.families import SD1, SD2, SDXL
from .codec import ComfyCodec
from .identity import ROOT, check_vae, family_of, network_fingerprint, sampled
from .network import READS_PICTURES, ComfyDenoiser, differentiable_kernels
from .preview_sampler import preview_sampler
from .probe import probe
from .weights import cast_weight, clone_static, leave_inference_mode, load_in_inference_mode

INJECTION = "identity_aging"
# Most files lack it and hardly a model reads it: ComfyUI leaves in it whatever was in that memory before.
UNSET = "clip_l.transformer.text_projection.weight"
PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Where the layers of config.LORA_LAYERS are, by their path in the networks that ComfyUI has. The single blocks of Flux
# read queries, keys and values with their first half of linear1.
LAYERS = {
    "attention": r"(^|[._])(attn|attention|self_attn|cross_attn)\d*\b|\bsingle_blocks\.\d+\.linear[12]$",
    "feed-forward": r"\.(ff|ffn|feed_forward|mlp|\w+_mlp)\b",
    "convolution": r"\.(in_layers\.2|out_layers\.3|skip_connection)$",
}


class ComfyModel:
    """A trainer's model on ComfyUI's own modules; LoRA only. Call ``close`` when the training has ended.

    Raises UserError for a MODEL that no text alone can be drawn with, that predicts what cannot be trained, or whose
    layers others have changed, and for a VAE that is not its own.
    """

    name = "a model loaded in ComfyUI"

    def __init__(self, model, clip, vae):
        self.family = family_of(model)
        _check(model, vae, self.family.name)
        self.source, self.clip = model, clip
        self.patcher = clone_static(model)
        self.denoiser = ComfyDenoiser(self.patcher)
        self.codec = ComfyCodec(vae, self.patcher.model.latent_format)
        self.sha256 = self.fingerprint = network_fingerprint(model)
        self.remarks: list[str] = []
        self._opened: tuple[int, int] | None = None

    @property
    def resolution(self) -> int:
        """Side of the pictures that it was trained on, px. SD 2.x has two: 512 for epsilon, 768 for v."""
        if self.family.name == SD2.name and self.denoiser.prediction_type == "epsilon":
            return 512
        return self.family.resolution

    @property
    def guidance(self) -> float:
        """Of drawings in a few steps: 1 for models that are distilled, or read their guidance."""
        return min(3.0, preview_sampler(self.source, self.denoiser.prediction_type).guidance)

    @property
    def network(self) -> Any:
        """ComfyUI's diffusion model."""
        return self.patcher.model.diffusion_model

    def inputs(self) -> dict[str, Any]:
        """What the result of a training takes from it, by name."""
        levels = {"sigmas": self.denoiser.sigmas, "out": self.denoiser.levels.out}
        text = dict(sampled(self.clip.patcher))
        if UNSET in text:
            text[UNSET] = torch.zeros_like(text[UNSET])
        return {
            "network": self.sha256,
            "prediction type": self.denoiser.prediction_type,
            "noise levels": fingerprint(levels),
            "text encoder": fingerprint(text),
            "clip skip": str(self.clip.layer_idx),
            "VAE": fingerprint(dict(sampled(self.codec.patcher))),
        }

    def prepare(self, config: TrainingConfig, precision: str, device: torch.device) -> None:
        """Has the network compute in ``precision``, whatever its weights are kept in; the weights stay ComfyUI's."""
        computes = self.patcher.get_model_object("manual_cast_dtype") or self.patcher.model.get_dtype()
        if computes != PRECISIONS[precision]:
            self.patcher.set_model_compute_dtype(PRECISIONS[precision])

    def freeze_text(self, prompts: list[str]) -> None:
        """Encodes ``prompts`` as CLIP Text Encode does. Raises UserError for what changes while it is sampled."""
        with torch.no_grad():
            for prompt in dict.fromkeys(prompts):
                with torch.inference_mode():  # as its node does: it may be moved
                    encoded = self.clip.encode_from_tokens_scheduled(self.clip.tokenize(prompt))
                if any("hooks" in extra for _, extra in encoded):
                    raise UserError(
                        "This CLIP has hooks on it, which a training cannot follow. Wire it as it was before Set CLIP "
                        "Hooks."
                    )
                self.denoiser.prompts[prompt] = [[cond.clone(), _out_of_inference(extra)] for cond, extra in encoded]

    def release_text(self) -> None:
        """The text encoder leaves the device when the network needs its place; here nobody asks it any more."""
        del self.clip

    def choose_trainable(self, config: TrainingConfig) -> None:
        """Puts a LoRA on the layers that ``config`` names, and tries a backward pass through all of it.

        Raises UserError where the network has no such layers, or breaks the gradient.
        """
        layers = _layers(self.network)
        wanted = re.compile("|".join(LAYERS[group] for group in config.lora_layers))
        generator = torch.Generator().manual_seed(config.seed)
        for name, layer in layers.items():
            if wanted.search(name):
                self.denoiser.adapters[name.replace(".", "/")] = Lora(layer, config.rank, config.lora_alpha, generator)
        if not self.denoiser.adapters:
            raise UserError(
                f"This MODEL ({self.family.name}) has no {' or '.join(config.lora_layers)} layers under the names that "
                "are known here. Choose other lora_layers."
            )
        self.denoiser.to(self.patcher.load_device)
        self.checkpoint_blocks(False)
        with self.stepping(self.resolution):
            missing = probe(self.denoiser, self.codec, self.family.name, config.resolution or self.resolution)
        if missing:  # such as what the last block makes of the text, which nothing reads
            self.remarks.append(f"{missing} of {len(self.denoiser.adapters)} LoRA layers change no picture.")
        self.checkpoint_blocks(config.gradient_checkpointing)

    def checkpoint_blocks(self, on: bool) -> None:
        """Whether activations are computed again in the backward pass, those of the VAE included.

        The adapters come with the weights, and leave when ComfyUI loads this network for anybody else.
        """
        self.patcher.eject_model()  # the weights stay where they are
        layers = _layers(self.network)
        adapters: dict[str, Any] = {name.replace("/", "."): lora for name, lora in self.denoiser.adapters.items()}
        undo: list[Undo] = []

        def inject(patcher) -> None:
            for name, layer in layers.items():
                cast = cast_weight if type(layer).__module__ == "comfy.ops" else None
                undo.append(wrap_layer(layer, adapters.get(name), cast))
            undo.extend(copy_norm_inputs(self.network))
            if on:
                undo.extend(map(wrap_block, [*blocks(self.network), *self.codec.blocks()]))

        def eject(patcher) -> None:
            while undo:
                undo.pop()()

        self.patcher.set_injections(INJECTION, [PatcherInjection(inject=inject, eject=eject)])

    def saved_size(self, method: str) -> int:
        """How many numbers ``trained`` holds."""
        return sum(weight.numel() for weight in self.denoiser.adapters.parameters())

    def held(self) -> list[nn.Module]:
        """Whatever has weights that stay in memory while it is trained."""
        return [self.patcher.model, self.codec.network, self.denoiser.adapters]

    @contextmanager
    def untrained(self) -> Generator[ComfyDenoiser, None, None]:
        """The adapters are switched off."""
        adapters: Any = self.denoiser.adapters.values()
        for lora in adapters:
            lora.on = False
        try:
            yield self.denoiser
        finally:
            for lora in adapters:
                lora.on = True

    @contextmanager
    def stepping(self, resolution: int) -> Generator[None, None, None]:
        """ComfyUI in training: the weights on the device, and no shortcuts that have no gradient."""
        self._open()
        levels = self.patcher.model.model_config.unet_config.get("channel_mult", ())  # a UNet's
        deepest = resolution // self.codec.factor // 2 ** max(len(levels) - 1, 0)
        comfy.model_management.in_training = True
        try:
            with fast_convolutions(self.patcher.load_device, deepest), differentiable_kernels():
                yield
        finally:
            comfy.model_management.in_training = False

    def _open(self) -> None:
        sizes = self.patcher.loaded_size(), self.codec.patcher.loaded_size()
        if self.patcher.is_injected and sizes == self._opened:
            return
        load_in_inference_mode(self.patcher, self.codec.patcher, force_full_load=True)
        leave_inference_mode(self.patcher.model)
        self.codec.open()
        self._opened = self.patcher.loaded_size(), self.codec.patcher.loaded_size()

    def close(self) -> None:
        """Takes the adapters off ComfyUI's modules and gives the memory back."""
        self._opened = None
        with torch.inference_mode():
            self.patcher.detach()

    @torch.no_grad()
    def draw(
        self,
        prompts: list[str],
        resolution: int,
        seed: int,
        preset: Preset | None = None,
        batch_size: int = 2,
        progress: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Pictures [B, 3, H, W] in [-1, 1] on the CPU, one a prompt, from one noise, by ComfyUI's own sampler."""
        quick = preview_sampler(self.source, self.denoiser.prediction_type)
        noise = starting_noise(self.codec, resolution, seed)
        pictures = []
        self._opened = None  # the sampler may move what it finds
        for prompt in prompts:
            with torch.inference_mode():
                latents = comfy.sample.sample(
                    self.patcher, noise, quick.steps, quick.guidance, quick.sampler, quick.scheduler,
                    self.denoiser.prompts[prompt], self.denoiser.prompts[""], torch.zeros_like(noise),
                    callback=lambda *_: progress(), disable_pbar=True, seed=seed,
                )  # fmt: skip
            load_in_inference_mode(self.codec.patcher)
            pictures.append(self.codec.pixels(latents).cpu())
        return torch.cat(pictures).clamp(-1, 1)

    def trained(self, method: str, lora_alpha: float) -> StateDict:
        """The LoRA: in kohya's keys for Stable Diffusion and SDXL, else in those of the network's own names.

        Both open in ComfyUI's LoRA loaders. The second kind has its scale multiplied into lora_B.
        """
        adapters: dict[str, Any] = {name.replace("/", "."): lora for name, lora in self.denoiser.adapters.items()}
        state: StateDict = {}
        names = self._kohya_names()
        for name, lora in adapters.items():
            down, up = lora.down.detach(), lora.up.detach()
            if names:
                prefix = names[name]
                state |= {f"{prefix}.lora_down.weight": down, f"{prefix}.lora_up.weight": up}
                state[f"{prefix}.alpha"] = torch.tensor(float(lora_alpha))
            else:
                state |= {f"{ROOT}{name}.lora_A.weight": down, f"{ROOT}{name}.lora_B.weight": up * lora.scale}
        return state

    def _kohya_names(self) -> dict[str, str]:
        """Layers to kohya's names: diffusers' for Stable Diffusion, the checkpoint's own for SDXL; else none."""
        if self.family.name == SDXL.name:
            return {
                name.replace("/", "."): "lora_unet_" + re.sub(r"[./]", "_", name) for name in self.denoiser.adapters
            }
        if self.family.name not in (SD1.name, SD2.name):
            return {}
        named = comfy.utils.unet_to_diffusers(self.patcher.model.model_config.unet_config)
        return {
            ours.removesuffix(".weight"): "lora_unet_" + theirs.removesuffix(".weight").replace(".", "_")
            for theirs, ours in named.items()
        }


def _check(model, vae, family: str) -> None:
    network, form = model.model.diffusion_model, model.model.latent_format
    settings = model.model.model_config.unet_config
    if model.model.concat_keys or settings.get("stable_cascade_stage") == "b":
        raise UserError(READS_PICTURES)
    if model.injections:
        raise UserError(
            "Something on this MODEL changes its layers while it runs, such as a LoRA in bypass mode. Take it off, or "
            "load the LoRA without bypass."
        )
    sound = any("audio" in name for name, _ in network.named_children())
    if sound or "audio_model" in settings or form.latent_dimensions == 1:
        raise UserError(f"{family} works on sound or shapes, not on pictures alone. Use a text-to-image model.")
    check_vae(vae, form.latent_channels, family)


def _layers(network: nn.Module) -> dict[str, Any]:
    """Linear and convolutional layers by name."""
    return {name: layer for name, layer in network.named_modules() if is_layer(layer)}


def _out_of_inference(extra: dict[str, Any]) -> dict[str, Any]:
    return {name: value.clone() if torch.is_tensor(value) else value for name, value in extra.items()}

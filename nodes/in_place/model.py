"""Trains a graph's MODEL in place: copies nothing, and leaves the graph's MODEL, CLIP and VAE unchanged."""

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
from ...training.errors import InvalidSetting, UnsupportedModel
from ...training.models.convolutions import fast_convolutions
from ...training.models.fingerprint import fingerprint
from ...training.models.inplace import Lora, Undo, blocks, copy_norm_inputs, is_layer, wrap_block, wrap_layer
from ...training.models.interface import Preset, StateDict, starting_noise
from ...training.models.stable_diffusion.families import SD1, SD2, SDXL, native_resolution
from .codec import ComfyCodec
from .identity import ROOT, check_vae, family_of, network_fingerprint, sampled
from .lora import check_loading
from .network import NEEDS_IMAGE, ComfyDenoiser, differentiable_kernels
from .preview_sampler import preview_sampler
from .probe import probe
from .weights import cast_weight, clone_static, leave_inference_mode, load_in_inference_mode

INJECTION = "identity_aging"
# Most files lack this weight and few models use it. ComfyUI then leaves it uninitialised.
UNSET = "clip_l.transformer.text_projection.weight"
COMPUTE_DTYPES = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Regular expressions for the paths of config.LORA_LAYERS in ComfyUI's networks. In Flux's single blocks, linear1 also
# computes query, key and value.
LAYERS = {
    "attention": r"(^|[._])(attn|attention|self_attn|cross_attn)\d*\b|\bsingle_blocks\.\d+\.linear[12]$",
    "feed-forward": r"\.(ff|ffn|feed_forward|mlp|\w+_mlp)\b",
    "convolution": r"\.(in_layers\.2|out_layers\.3|skip_connection)$",
}
TEXT_ADAPTER = "llm_adapter."  # Anima's second text encoder; other trainers leave it untrained too


class ComfyModel:
    """A trainable model on ComfyUI's own modules; LoRA only. Call ``close`` when training has ended.

    Raises UserError if the MODEL needs more than text, has an unsupported prediction type or changed layers, or if the
    VAE does not fit it.
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
        """Side of the images that the model was trained on, px."""
        return native_resolution(self.family.name, self.denoiser.prediction_type, self.family.resolution)

    @property
    def guidance(self) -> float:
        """Guidance scale when sampling in a few steps; 1 for distilled models and those with a guidance input."""
        return min(3.0, preview_sampler(self.source, self.denoiser.prediction_type).guidance)

    @property
    def network(self) -> Any:
        """ComfyUI's diffusion model."""
        return self.patcher.model.diffusion_model

    def inputs(self) -> dict[str, Any]:
        """Hashes, by name, of everything in the model that the training result depends on."""
        levels = {"sigmas": self.denoiser.sigmas, "out": self.denoiser.levels.out}
        text = dict(sampled(self.clip.patcher))
        if UNSET in text:
            text[UNSET] = torch.zeros_like(text[UNSET])
        # Entries only for models that once trained otherwise, so that runs of all others keep their id.
        changed = {"guidance": "ComfyUI's own"} if hasattr(self.network, "distilled_guidance_layer") else {}
        if any(name.startswith(TEXT_ADAPTER) for name in _layers(self.network)):
            changed["untrained"] = TEXT_ADAPTER
        return changed | {
            "network": self.sha256,
            "prediction type": self.denoiser.prediction_type,
            "noise levels": fingerprint(levels),
            "text encoder": fingerprint(text),
            "clip skip": str(self.clip.layer_idx),
            "VAE": fingerprint(dict(sampled(self.codec.patcher))),
        }

    def prepare(self, config: TrainingConfig, precision: str, device: torch.device) -> None:
        """Makes the network compute in ``precision``. The weights keep their dtype."""
        computes = self.patcher.get_model_object("manual_cast_dtype") or self.patcher.model.get_dtype()
        if computes != COMPUTE_DTYPES[precision]:
            self.patcher.set_model_compute_dtype(COMPUTE_DTYPES[precision])

    def freeze_text(self, prompts: list[str]) -> None:
        """Encodes ``prompts`` as CLIP Text Encode does. Raises UserError if the CLIP has hooks."""
        with torch.no_grad():
            for prompt in dict.fromkeys(prompts):
                with torch.inference_mode():  # like the node; the encoder may be moved to the device
                    encoded = self.clip.encode_from_tokens_scheduled(self.clip.tokenize(prompt))
                if any("hooks" in extra for _, extra in encoded):
                    raise UnsupportedModel(
                        "Training does not support CLIP hooks. Connect the CLIP from before Set CLIP Hooks."
                    )
                self.denoiser.prompts[prompt] = [[cond.clone(), _clone_tensors(extra)] for cond, extra in encoded]

    def release_text(self) -> None:
        """Drops the reference to the text encoder. ComfyUI unloads it when the network needs the memory."""
        del self.clip

    def choose_trainable(self, config: TrainingConfig) -> None:
        """Adds a LoRA to the layers in ``config``, and tries to load it and one backward pass.

        Raises UserError if the network has no such layers, ComfyUI cannot load a LoRA of them, the gradient breaks, or
        the network is an expert and ``config`` has a reward.
        """
        if config.reward_every and self.denoiser.sigma_range:
            raise InvalidSetting(
                "The reward generates images, which takes both experts of Wan 2.2, but this MODEL is one of them. Set "
                "reward_every to 0."
            )
        layers = _layers(self.network)
        wanted = re.compile("|".join(LAYERS[group] for group in config.lora_layers))
        generator = torch.Generator().manual_seed(config.seed)
        for name, layer in layers.items():
            if wanted.search(name) and not name.startswith(TEXT_ADAPTER):
                self.denoiser.adapters[name.replace(".", "/")] = Lora(layer, config.rank, config.lora_alpha, generator)
        if not self.denoiser.adapters:
            raise InvalidSetting(
                f"No {' or '.join(config.lora_layers)} layers were recognised in this MODEL ({self.family.name}). "
                "Choose other lora_layers."
            )
        check_loading(self.trained("lora", config.lora_alpha), self.source, self.family.name)
        self.denoiser.to(self.patcher.load_device)
        self.checkpoint_blocks(False)
        with self.stepping(self.resolution):
            missing = probe(self.denoiser, self.codec, self.family.name, config.resolution or self.resolution)
        if missing:  # such as the last block's text output, which is not used
            self.remarks.append(f"{missing} of {len(self.denoiser.adapters)} LoRA layers do not affect the image.")
        self.checkpoint_blocks(config.gradient_checkpointing)

    def checkpoint_blocks(self, on: bool) -> None:
        """Turns gradient checkpointing on or off, in the network and the VAE's decoder.

        ComfyUI adds the adapters when it loads this patcher's weights, and removes them when it loads another's.
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
        """The modules that stay in memory during training."""
        return [self.patcher.model, self.codec.network, self.denoiser.adapters]

    @contextmanager
    def untrained(self) -> Generator[ComfyDenoiser, None, None]:
        """The network without its adapters, as before training."""
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
        """Prepares ComfyUI for a training step: loads the weights and replaces kernels that have no backward pass."""
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
        """Removes the adapters from ComfyUI's modules and frees the memory."""
        self._opened = None
        with torch.inference_mode():
            self.patcher.detach()

    @torch.no_grad()
    def generate(
        self,
        prompts: list[str],
        resolution: int,
        seed: int,
        preset: Preset | None = None,
        batch_size: int = 2,
        progress: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """Generates one image per prompt with ComfyUI's sampler: [B, 3, H, W] in [-1, 1] on the CPU.

        All start from the same noise. Always uses the preview settings; ``preset`` and ``batch_size`` are ignored.
        """
        settings = preview_sampler(self.source, self.denoiser.prediction_type)
        noise = starting_noise(self.codec, resolution, seed)
        images = []
        self._opened = None  # the sampler may move the weights
        for prompt in prompts:
            with torch.inference_mode():
                latents = comfy.sample.sample(
                    self.patcher, noise, settings.steps, settings.guidance, settings.sampler, settings.scheduler,
                    self.denoiser.prompts[prompt], self.denoiser.prompts[""], torch.zeros_like(noise),
                    callback=lambda *_: progress(), disable_pbar=True, seed=seed,
                )  # fmt: skip
            load_in_inference_mode(self.codec.patcher)
            images.append(self.codec.pixels(latents).cpu())
        return torch.cat(images).clamp(-1, 1)

    def trained(self, method: str, lora_alpha: float) -> StateDict:
        """The LoRA's tensors: in kohya's keys for Stable Diffusion and SDXL, otherwise under the network's own names.

        ComfyUI's LoRA loaders read both. The second layout has no alpha: lora_B includes the scale.
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
        """Kohya's name per layer: diffusers' for Stable Diffusion, single-file for SDXL, empty for other families."""
        if self.family.name == SDXL.name:
            return {
                name.replace("/", "."): "lora_unet_" + re.sub(r"[./]", "_", name) for name in self.denoiser.adapters
            }
        if self.family.name not in (SD1.name, SD2.name):
            return {}
        diffusers_names = comfy.utils.unet_to_diffusers(self.patcher.model.model_config.unet_config)
        return {
            ours.removesuffix(".weight"): "lora_unet_" + theirs.removesuffix(".weight").replace(".", "_")
            for theirs, ours in diffusers_names.items()
        }


def _check(model, vae, family: str) -> None:
    """Raises UserError if the MODEL is not a plain text-to-image model or the VAE does not fit it."""
    network, form = model.model.diffusion_model, model.model.latent_format
    settings = model.model.model_config.unet_config
    if model.model.concat_keys or settings.get("stable_cascade_stage") == "b":
        raise UnsupportedModel(NEEDS_IMAGE)
    if model.injections:
        raise UnsupportedModel(
            "A node changes this MODEL's layers while it runs, such as a LoRA in bypass mode. Remove the node, or load "
            "the LoRA without bypass."
        )
    sound = any("audio" in name for name, _ in network.named_children())
    if sound or "audio_model" in settings or form.latent_dimensions == 1:
        raise UnsupportedModel(f"{family} generates sound or 3D shapes, not only images. Use a text-to-image model.")
    check_vae(vae, form.latent_channels, family)


def _layers(network: nn.Module) -> dict[str, Any]:
    """The network's linear and convolutional layers by name."""
    return {name: layer for name, layer in network.named_modules() if is_layer(layer)}


def _clone_tensors(extra: dict[str, Any]) -> dict[str, Any]:
    """Copies of the tensors, outside inference mode."""
    return {name: value.clone() if torch.is_tensor(value) else value for name, value in extra.items()}

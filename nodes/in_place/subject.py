"""Applies a trained subject to ComfyUI's MODEL and CLIP."""

import math

import comfy.sd
import comfy.utils
import folder_paths

from ...training.errors import DamagedFile, InvalidSetting, ModelMismatch
from ...training.models.subject import not_finite
from ..ui.sockets import TrainedSubject
from .copy import IN_PLACE
from .identity import family_of, network_fingerprint
from .lora import with_lora


def apply_subject(subject: TrainedSubject, model, clip, strength: float = 1.0) -> tuple:
    """Returns MODEL and CLIP for ``subject``: the given ones with its LoRA, or those of its full fine-tune.

    Raises UserError if the LoRA is damaged or does not fit, or ``strength`` is invalid.
    """
    if not math.isfinite(strength):
        raise InvalidSetting(f"strength is {strength}, but must be a finite number.")
    if subject.header.method == "lora":
        family = family_of(model).name
        if family != subject.header.family:
            raise ModelMismatch(
                f"{subject.file.name} was trained on {subject.header.family}, but this MODEL is {family}. Connect a "
                f"{subject.header.family} model."
            )
        weights = comfy.utils.load_torch_file(str(subject.file), safe_load=True)
        if bad := not_finite(weights):
            raise DamagedFile(f"{subject.file.name} is damaged: {bad} are not finite. Train it again.")
        patched = with_lora(weights, model, clip, strength)
        if not 0 < patched.layers == patched.fitting:
            raise ModelMismatch(
                f"{subject.file.name} is a LoRA for {subject.header.family} ({subject.header.base_model}), but only "
                f"{patched.fitting} of its {patched.layers} layers fit this MODEL and CLIP. Load the checkpoint it was "
                "trained on."
            )
        return patched.model, patched.clip
    if strength != 1:
        raise InvalidSetting(
            f"{subject.file.name} is a full fine-tune, not a LoRA: strength must be 1, but is {strength}."
        )
    embeddings = folder_paths.get_folder_paths("embeddings")
    loaded = comfy.sd.load_checkpoint_guess_config(
        str(subject.file), output_vae=False, output_clip=True, embedding_directory=embeddings
    )
    return loaded[:2]


def base_remark(subject: TrainedSubject, model) -> str:
    """Returns a warning if a LoRA is used on another model than the one it was trained on, otherwise "".

    Also returns "" if the file does not say what it was trained on, or ComfyUI is too old to tell.
    """
    trained_on = subject.header.base_fingerprint
    if subject.header.method != "lora" or not trained_on or not IN_PLACE:
        return ""
    if network_fingerprint(model) == trained_on:
        return ""
    return (
        f"{subject.name} was trained on another {subject.header.family} model, or on this one with another number "
        "format or other LoRAs. This usually works; if the likeness is worse, load the model it was trained on."
    )

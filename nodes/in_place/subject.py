"""A trained subject on ComfyUI's MODEL and CLIP."""

import math

import comfy.sd
import comfy.utils
import folder_paths

from ...training.errors import UserError
from ...training.models.subject import not_finite
from ..ui.sockets import TrainedSubject
from .copy import IN_PLACE
from .identity import family_of


def apply_subject(subject: TrainedSubject, model, clip, strength: float = 1.0) -> tuple:
    """MODEL and CLIP that draw ``subject``: the given ones with its LoRA, or its own where every weight was trained."""
    if not math.isfinite(strength):
        raise UserError(f"strength is {strength}; it must be a number.")
    if subject.header.method == "lora":
        family = family_of(model).name
        if family != subject.header.family:
            raise UserError(
                f"{subject.file.name} was trained on {subject.header.family}, and this MODEL is {family}. Load the "
                f"subject on a {subject.header.family} model."
            )
        weights = comfy.utils.load_torch_file(str(subject.file), safe_load=True)
        if bad := not_finite(weights):
            raise UserError(f"{subject.file.name} is damaged: {bad} are not finite. Train it anew.")
        with_lora = comfy.sd.load_lora_for_models(model, clip, weights, strength, strength)
        layers = sum(key.endswith((".lora_up.weight", ".lora_B.weight")) for key in weights)
        fitting = _fitting(model, with_lora[0])
        if clip is not None:
            fitting += _fitting(clip.patcher, with_lora[1].patcher)
        if not 0 < layers == fitting:
            raise UserError(
                f"{subject.file.name} is a LoRA for {subject.header.family} ({subject.header.base_model}), and "
                f"{fitting} of its {layers} layers fit this MODEL and CLIP. Load the checkpoint that it was trained on."
            )
        return with_lora
    if strength != 1:
        raise UserError(f"{subject.file.name} is a full fine-tune and no LoRA: its strength can only be 1.")
    embeddings = folder_paths.get_folder_paths("embeddings")
    loaded = comfy.sd.load_checkpoint_guess_config(
        str(subject.file), output_vae=False, output_clip=True, embedding_directory=embeddings
    )
    return loaded[:2]


def _fitting(before, after) -> int:
    """How many LoRA layers ``after`` has beyond those of ``before``, each in the shape of the weight it is added to."""
    weights, fitting = after.model_state_dict(), 0
    for key, patches in after.patches.items():
        for _, lora, _, part, _ in patches[len(before.patches.get(key, ())) :]:
            shape, (up, down) = list(weights[key].shape), lora.weights[:2]
            if part:  # of query, key and value in one weight: dimension, start, length
                shape[part[0]] = part[2]
            fitting += [up.shape[0], down.shape[1]] == shape[:2]
    return fitting


def base_remark(subject: TrainedSubject, model) -> str:
    """What to know of a LoRA on another model of its family; nothing where it is the one that it was trained on.

    Where a subject says nothing of its base, or ComfyUI is older than training in place, nothing is known.
    """
    known = subject.header.base_fingerprint
    if subject.header.method != "lora" or not known or not IN_PLACE:
        return ""
    from .in_place.identity import network_fingerprint

    if network_fingerprint(model) == known:
        return ""
    return (
        f"{subject.name} was trained on another {subject.header.family} model, or on this one in another number format "
        "or with other LoRAs. It mostly works; where the person looks less alike, load what it was trained on."
    )

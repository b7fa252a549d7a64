"""Opens a trained subject: merges its LoRA into the base model, or opens its full checkpoint."""

import shlex
from pathlib import Path

from ...errors import MissingInput, ModelMismatch
from ...weights import read_state_dict
from ..subject import Subject, read_subject, subject_file
from .checkpoint import model_from_state_dict, open_model
from .lora import merge_lora
from .model import Model


def open_subject(path: Path, base: Path | None, strength: float = 1.0) -> tuple[Model, Subject]:
    """Returns the model that generates the subject: ``base`` with the LoRA merged in, or the full checkpoint.

    Raises UserError if the subject is a LoRA and ``base`` is missing or of another family.
    """
    subject, file = read_subject(path), subject_file(path)
    if subject.method == "full":
        return model_from_state_dict(read_state_dict(file), file.name, subject.prediction_type), subject
    if base is None:
        raise MissingInput(
            f"{file} is a LoRA for {subject.base_model}. Give the path of that model: "
            f"--checkpoint {shlex.quote(subject.base_model)}"
        )
    model = open_model(base, subject.prediction_type)
    if model.family.name != subject.family:
        raise ModelMismatch(f"{file} was trained on {subject.family}, but {base} is {model.family.name}.")
    merge_lora(model.denoiser, read_state_dict(file), strength)
    return model, subject

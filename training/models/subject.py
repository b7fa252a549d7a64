"""The subject file: a trained LoRA or a full checkpoint, with a header that holds the token, ages and base model."""

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import torch

from ..ages import AGE_CLASSES, SAMPLING_PROMPT, fill_prompt
from ..config import METHODS, TrainingConfig
from ..errors import DamagedFile, InvalidSetting, MissingFile, TrainingFailed, UnsupportedModel
from ..files import written
from ..names import utf8_name
from ..records import from_json, parse_json
from .interface import StateDict, TrainableModel
from .labels import STABILITY, label_of
from .levels import PREDICTIONS

VERSION = "0.1.0"
HEADER = "identity_aging"  # our key in the safetensors header; its value is JSON
STEP_FILE = "step_{}.safetensors"  # what a run saves for its best step so far
MODELSPEC_PREDICTIONS = {"epsilon": "epsilon", "v_prediction": "v"}  # ModelSpec defines no others
SAVE_PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}


@dataclass(frozen=True)
class Subject:
    """The header of a subject file."""

    token: str
    class_word: str
    ages: list[str]
    family: str
    prediction_type: str
    base_model: str  # file name
    base_sha256: str
    method: str
    loss: str
    loss_weight: float
    prior_loss_weight: float
    steps: int
    seed: int
    resolution: int  # px
    version: str = VERSION
    base_fingerprint: str = ""  # of the base model's network; empty in files of older versions

    def prompt(self, age: str | int, template: str = SAMPLING_PROMPT) -> str:
        """The prompt for an image of the subject at ``age``."""
        return fill_prompt(template, token=self.token, class_word=self.class_word, age=age)


def describe(model: TrainableModel, config: TrainingConfig, steps: int, resolution: int) -> Subject:
    """The header for ``model`` trained with ``config`` for ``steps`` steps at ``resolution`` px."""
    return Subject(
        token=config.token,
        class_word=config.class_word,
        ages=list(AGE_CLASSES),
        family=model.family.name,
        prediction_type=model.denoiser.prediction_type,
        base_model=model.name,
        base_sha256=model.sha256,
        method=config.method,
        loss=config.loss,
        loss_weight=config.loss_weight,
        prior_loss_weight=config.prior_loss_weight,
        steps=steps,
        seed=config.seed,
        resolution=resolution,
        base_fingerprint=model.fingerprint,
    )


def save_subject(
    path: Path,
    model: TrainableModel,
    subject: Subject,
    lora_alpha: float,
    dtype: torch.dtype,
    title: str,
    entries: dict[str, str],
) -> None:
    """Writes a trained model: only its LoRA, or every weight in the layout that Load Checkpoint reads.

    ``title`` is the name that other tools show for the file, ``entries`` are more entries for its header. Raises
    UserError if a weight is not finite: training diverged, or the weight is too large for ``dtype``.
    """
    from safetensors.torch import save_file

    state = model.trained(subject.method, lora_alpha)
    state = {key: value.to("cpu", dtype).contiguous() for key, value in state.items()}
    if bad := not_finite(state):
        raise TrainingFailed(
            f"{path} was not written: {bad} are not finite in {str(dtype).removeprefix('torch.')}. Save it as fp32; if "
            "that fails too, train again with a lower learning rate."
        )
    with written(path) as temporary:
        save_file(state, temporary, metadata=_header(subject, title, entries))


def _header(subject: Subject, title: str, entries: dict[str, str]) -> dict[str, str]:
    """Our JSON, the ModelSpec 1.0.0 keys that other tools show, and ``entries``.

    Escapes bytes of file names that are not UTF-8.
    """
    label, lora = label_of(subject.family, subject.prediction_type), subject.method == "lora"
    header = {
        HEADER: json.dumps(asdict(subject)),
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.architecture": label.architecture + ("/lora" if lora else ""),
        "modelspec.title": title,
        "modelspec.date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "modelspec.resolution": f"{subject.resolution}x{subject.resolution}",
        "modelspec.trigger_phrase": f"{subject.token} {subject.class_word}",
        "modelspec.usage_hint": subject.prompt("elderly"),
    }
    if prediction := MODELSPEC_PREDICTIONS.get(subject.prediction_type):
        header["modelspec.prediction_type"] = prediction
    if implementation := label.implementation if lora else STABILITY:
        header["modelspec.implementation"] = implementation
    header |= entries
    return {key: value.encode(errors="backslashreplace").decode() for key, value in header.items()}


def subject_file(path: Path) -> Path:
    """Returns ``path`` itself, or the subject file inside if ``path`` is a folder that training wrote.

    In a renamed folder the file still has the folder's old name. Raises UserError if there are several candidates.
    """
    if not path.is_dir():
        return path
    named = path / f"{path.absolute().name}.safetensors"
    others = [file for file in path.glob("*.safetensors") if not re.fullmatch(STEP_FILE.format(r"\d+"), file.name)]
    if named in others or not others:
        return named
    if len(others) > 1:
        names = ", ".join(sorted(file.name for file in others))
        raise InvalidSetting(f"{path} contains several subject files: {names}. Give the path of one of them.")
    return others[0]


def read_subject(path: Path) -> Subject:
    """The header of a subject file or folder. Raises UserError if it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    file = subject_file(path)
    if not file.is_file():
        raise MissingFile(f"There is no subject file at {file}. Check the path, or train a subject first.")
    try:
        with safe_open(utf8_name(file), "pt") as opened:
            header = (opened.metadata() or {}).get(HEADER)
    except (SafetensorError, OSError) as error:
        raise DamagedFile(f"{file} is damaged and cannot be read ({error}).") from error
    if header is None:
        raise DamagedFile(
            f"{file} is not a subject file: its header has no {HEADER} entry. Use one that Identity Aging wrote."
        )
    source = f"The header of {file}"
    subject = from_json(Subject, parse_json(header, source), source)
    if subject.method not in METHODS or subject.prediction_type not in PREDICTIONS:
        raise UnsupportedModel(
            f"{file} needs a newer version of Identity Aging: its method is {subject.method} and its prediction type "
            f"{subject.prediction_type}."
        )
    if subject.resolution < 8 or subject.resolution % 8:
        raise DamagedFile(
            f"{source} is damaged: its resolution is {subject.resolution} px, not a positive multiple of 8."
        )
    return subject


def not_finite(state: StateDict) -> str:
    """Describes how many numbers in ``state`` are nan or inf ("3 of 96 numbers"). Empty if all are finite."""
    bad = sum(int((~value.float().isfinite()).sum()) for value in state.values())
    return f"{bad} of {sum(value.numel() for value in state.values())} numbers" if bad else ""

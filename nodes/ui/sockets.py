"""The pack's own socket types, and what all its nodes share."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from comfy_api.latest import io

from ...training.faces.age_estimators import AgeEstimator
from ...training.faces.embedders import FaceEmbedder as Embedder
from ...training.models.subject import Subject

CATEGORY = "identity aging"

AgeSet = io.Custom("IDAGING_AGE_SET")  # a RegularizationSet
FaceEmbedder = io.Custom("IDAGING_FACE_EMBEDDER")  # a FaceEmbedder of training/
SubjectSocket = io.Custom("IDAGING_SUBJECT")  # a TrainedSubject
JudgeSocket = io.Custom("IDAGING_JUDGE")  # a ChosenJudge


@dataclass(frozen=True)
class TrainedSubject:
    """What travels through a subject socket."""

    name: str
    file: Path
    header: Subject


@dataclass(frozen=True)
class ChosenJudge:
    """What travels through a judge socket."""

    embedder: Embedder
    estimator: AgeEstimator | None
    patience: int


def advanced(widget: io.Input) -> io.Input:
    """``widget``, out of sight until asked for. The front end reads the flag in every version, the API has it late."""
    return frontend_options(widget, advanced=True)


def frontend_options(widget: io.Input, **options: Any) -> io.Input:
    """``widget``, of which the front end is told ``options`` too: constructors of ComfyUI 0.3.64 take none."""
    widget.extra_dict = {**(widget.extra_dict or {}), **options}
    return widget


def search_aliases(*names: str) -> dict[str, list[str]]:
    """Words under which a node is found too. ComfyUI's schema has a place for them only since after 0.3.64."""
    return {"search_aliases": list(names)} if _schema_knows("search_aliases") else {}


def keeps_results() -> dict[str, bool]:
    """That what a node shows is sent again when all is found in the cache; newer versions of ComfyUI can."""
    return {"has_intermediate_output": True} if _schema_knows("has_intermediate_output") else {}


def _schema_knows(name: str) -> bool:
    return any(field.name == name for field in fields(io.Schema))


CONSENT = "Train and share only people who agreed to it."

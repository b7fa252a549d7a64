"""Socket types, and schema options that all nodes share."""

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
    """The value of a subject socket."""

    name: str
    file: Path
    header: Subject


@dataclass(frozen=True)
class JudgeChoice:
    """The value of a judge socket. ``patience``: previews without improvement until training stops; 0: never."""

    embedder: Embedder
    estimator: AgeEstimator | None
    patience: int


def advanced(widget: io.Input) -> io.Input:
    """Marks ``widget`` as advanced. All front ends support the flag, but older APIs have no parameter for it."""
    return frontend_options(widget, advanced=True)


def frontend_options(widget: io.Input, **options: Any) -> io.Input:
    """Adds ``options`` to ``widget`` for the front end. In ComfyUI 0.3.64, constructors do not accept extra options."""
    widget.extra_dict = {**(widget.extra_dict or {}), **options}
    return widget


def search_aliases(*names: str) -> dict[str, list[str]]:
    """Schema option with other search terms for a node; empty in ComfyUI 0.3.64, which does not support it."""
    return {"search_aliases": list(names)} if _schema_has("search_aliases") else {}


def keeps_results() -> dict[str, bool]:
    """Schema option to show a node's ui output again on a cache hit; empty in versions without it."""
    return {"has_intermediate_output": True} if _schema_has("has_intermediate_output") else {}


def _schema_has(name: str) -> bool:
    return any(field.name == name for field in fields(io.Schema))


CONSENT = "Only train and share people who agreed to it."

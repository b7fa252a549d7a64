"""The pack's own socket types, and what all its nodes share."""

from dataclasses import dataclass
from pathlib import Path

from comfy_api.latest import io

from ..training.subject import Subject

CATEGORY = "identity aging"

AgeSet = io.Custom("AGE_SET")  # a training.dataset.RegularizationSet
FaceEmbedder = io.Custom("FACE_EMBEDDER")  # a training.embedder.FaceEmbedder
SubjectSocket = io.Custom("SUBJECT")  # a TrainedSubject


@dataclass(frozen=True)
class TrainedSubject:
    """What travels through a SUBJECT socket."""

    name: str
    file: Path
    header: Subject


def advanced(widget: io.Input) -> io.Input:
    """``widget``, out of sight until asked for. The front end reads the flag in every version, the API has it late."""
    widget.extra_dict = {"advanced": True}
    return widget

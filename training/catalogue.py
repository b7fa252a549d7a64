"""The face embedders and age estimators that can be asked for by name."""

from pathlib import Path

import torch

from .faces.age_estimators import AgeEstimator, CropAgeEstimator, clip_in
from .faces.embedders import WEIGHTS, FaceEmbedder, FaceNet, open_facenet, weights_folder
from .world.shipped import age_estimator, world_embedder

DRAWN_EMBEDDERS = {"drawn-loss": "loss", "drawn-score": "score"}  # for faces drawn by program
DRAWN_AGES = "drawn-age"  # likewise
UNTRAINED_FACENET = "untrained"  # for tests
EMBEDDERS = (*WEIGHTS, *DRAWN_EMBEDDERS, UNTRAINED_FACENET)


def matcher_name(name: str) -> str:
    """What a report calls the embedder ``name``."""
    return name if name in DRAWN_EMBEDDERS else f"FaceNet {name}"


def load_embedder(name: str, folder: Path | None = None, download: bool = False) -> FaceEmbedder:
    """FaceNet by the data set it was trained on, ``untrained`` with a fixed seed, or one of the two for drawn faces.

    FaceNet's weights are looked for in ``folder`` (default: facenet-pytorch's own) and fetched into it only with
    ``download``; see open_facenet.
    """
    if name == UNTRAINED_FACENET:
        from facenet_pytorch import InceptionResnetV1

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return FaceNet("untrained FaceNet (seed 0): its similarities mean nothing", InceptionResnetV1())
    if name in DRAWN_EMBEDDERS:
        return world_embedder(DRAWN_EMBEDDERS[name])
    return open_facenet((folder or weights_folder()) / WEIGHTS[name][0], download)


def load_age_estimator(source: str) -> AgeEstimator:
    """``drawn-age``, for faces drawn by program, or the CLIP in the folder ``source``; see clip_in."""
    return CropAgeEstimator(age_estimator()) if source == DRAWN_AGES else clip_in(Path(source))

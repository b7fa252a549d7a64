"""Devices for the face networks, and freeing GPU memory."""

import gc
from functools import cache

import comfy.model_management
import torch

from ...training.faces.age_estimators import AgeEstimator
from ...training.faces.embedders import FaceEmbedder
from ...training.faces.find import FaceDetector, MTCNNDetector, RememberingDetector
from ...training.faces.observation import Observer


def trains_on_cpu() -> bool:
    """Returns True if ComfyUI runs on the CPU."""
    return comfy.model_management.get_torch_device().type == "cpu"


def face_device() -> torch.device:
    """The device for the face networks: a CUDA GPU, else the CPU. Other devices lack a pooling operation of MTCNN."""
    device = comfy.model_management.get_torch_device()
    return device if device.type == "cuda" else torch.device("cpu")


def observer(embedder: FaceEmbedder, estimator: AgeEstimator | None = None) -> Observer:
    """Returns an Observer that detects and embeds faces with ``embedder`` on ``face_device``."""
    device = face_device()
    with torch.inference_mode(False):  # weights moved in inference mode cannot be used in training
        return Observer(detector(embedder), embedder.to(device), estimator, device)


def detector(embedder: FaceEmbedder | None = None) -> FaceDetector:
    """Returns the embedder's own face detector if it has one, else MTCNN."""
    return (embedder.detector if embedder else None) or _mtcnn()


@cache
def _mtcnn() -> FaceDetector:
    """Returns one detector shared by all nodes and runs, so that each photo is searched only once."""
    with torch.inference_mode(False):
        return RememberingDetector(MTCNNDetector(face_device()))


def make_room() -> None:
    """Unloads all of ComfyUI's models from the GPU. ComfyUI reloads them when they are needed."""
    with torch.inference_mode():  # as when they were loaded
        comfy.model_management.unload_all_models()
    give_back()


def give_back() -> None:
    """Frees memory that is no longer in use."""
    gc.collect()
    comfy.model_management.soft_empty_cache()

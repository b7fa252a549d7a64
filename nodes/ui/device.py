"""Where the pack's own networks run, and room for them."""

import gc
from functools import cache

import comfy.model_management
import torch

from ...training.faces.age_estimators import AgeEstimator
from ...training.faces.embedders import FaceEmbedder
from ...training.faces.find import FaceDetector, MTCNNDetector, RememberingDetector
from ...training.faces.observation import Observer


def trains_on_cpu() -> bool:
    """Whether ComfyUI was told to leave GPUs alone, or has none."""
    return comfy.model_management.get_torch_device().type == "cpu"


def face_device() -> torch.device:
    """The device for small face networks: a CUDA GPU, else the CPU, since MTCNN pools in ways that others lack."""
    device = comfy.model_management.get_torch_device()
    return device if device.type == "cuda" else torch.device("cpu")


def observer(embedder: FaceEmbedder, estimator: AgeEstimator | None = None) -> Observer:
    """Whoever looks at pictures with ``embedder``, on the device for faces."""
    device = face_device()
    with torch.inference_mode(False):  # or its moved weights could be used for no training
        return Observer(detector(embedder), embedder.to(device), estimator, device)


def detector(embedder: FaceEmbedder | None = None) -> FaceDetector:
    """What finds faces for ``embedder``, or for people."""
    return (embedder.detector if embedder else None) or _mtcnn()


@cache
def _mtcnn() -> FaceDetector:
    """One for all nodes and queues, so that a photo is searched once."""
    with torch.inference_mode(False):
        return RememberingDetector(MTCNNDetector(face_device()))


def make_room() -> None:
    """Takes every model that ComfyUI holds off the GPU; they come back when they are next used."""
    with torch.inference_mode():  # in which they were loaded
        comfy.model_management.unload_all_models()
    give_back()


def give_back() -> None:
    """Returns memory that nothing holds any more."""
    gc.collect()
    comfy.model_management.soft_empty_cache()

"""The age estimator of a graph: ComfyUI's CLIP, face-api, or the synthetic world's own."""

import torch
from comfy_api.latest import io

from ...training.catalogue import SYNTHETIC_AGE_JUDGE, SYNTHETIC_AGES, age_estimator_for
from ...training.data.ages_in_names import ESTIMATED
from ...training.errors import MissingInput, ModelMismatch
from ...training.faces.age_estimators import AgeEstimator, ZeroShotAgeEstimator
from ...training.faces.embedders import FaceEmbedder
from ...training.faces.face_api import FACE_API
from .folders import face_file
from .images import to_batch
from .sockets import FaceEmbedder as FaceEmbedderSocket

CLIP_HELP = (
    "Estimates ages, together with a matching clip. If not connected, face-api's network does, if its files are in "
    "models/facenet. Synthetic faces (drawn-loss, drawn-score) have their own estimator."
)

# The estimator that scores was trained on other people than the one that trains.
SYNTHETIC_ESTIMATORS = {"drawn-loss": SYNTHETIC_AGES, "drawn-score": SYNTHETIC_AGE_JUDGE}


def clip_inputs(purpose: str = "") -> list[io.Input]:
    """The two halves of a CLIP that estimates ages; the tooltip begins with ``purpose``."""
    return [
        io.ClipVision.Input("clip_vision", optional=True, tooltip=purpose + CLIP_HELP),
        io.Clip.Input(
            "clip",
            optional=True,
            tooltip="The text encoder of the same CLIP: SDXL's for clip_vision_g, SD 2.x's for clip_vision_h.",
        ),
    ]


def auto_ages_inputs() -> list[io.Input]:
    """What estimates ages for ages = auto."""
    return [
        FaceEmbedderSocket.Input(
            "face_embedder",
            optional=True,
            tooltip="For ages = auto with synthetic faces: drawn-loss or drawn-score.",
        ),
        *clip_inputs("For ages = auto. "),
    ]


def needed_age_estimator(embedder: FaceEmbedder | None, vision, words) -> AgeEstimator:
    """Returns the age estimator for ages = auto. Raises UserError if there is none."""
    estimator = age_estimator(embedder, vision, words)
    if estimator is None:
        raise MissingInput(
            f"ages = {ESTIMATED} needs an age estimator. Connect clip_vision and clip, or download face-api's network "
            "with Load Face Embedder (weights = mobilefacenet, download on). For synthetic faces, connect drawn-loss "
            "or drawn-score as face_embedder."
        )
    return estimator


def age_estimator(embedder: FaceEmbedder | None, vision, words) -> AgeEstimator | None:
    """Returns an age estimator: from both halves of a CLIP if they are given, else the one that fits the embedder.

    Without CLIP, synthetic faces have their own estimator, and others use face-api if its files exist, else None.
    Raises UserError if only one half is given, or if the text encoder has no projection.
    """
    if vision is None and words is None:
        name = embedder.name if embedder else ""
        return age_estimator_for(name, SYNTHETIC_ESTIMATORS.get(name), face_file(FACE_API.name).parent)
    if vision is None or words is None:
        missing = "clip_vision" if vision is None else "clip"
        raise MissingInput(f"{missing} is not connected. Estimating ages needs both clip_vision and clip, or neither.")
    model = words.cond_stage_model
    tower = getattr(model, "clip_g", None) or getattr(model, getattr(model, "clip", ""), None)
    if not getattr(tower, "return_projected_pooled", False):
        raise ModelMismatch(
            "This clip cannot be compared with images: it has no projection, like Stable Diffusion 1.x's. Connect "
            "SDXL's clip with clip_vision_g, or Stable Diffusion 2.x's with clip_vision_h."
        )

    def encode_text(prompts: list[str]) -> torch.Tensor:
        pooled = [words.encode_from_tokens(words.tokenize(prompt), return_pooled=True)[1] for prompt in prompts]
        return torch.cat(pooled).float().cpu()

    return ZeroShotAgeEstimator(
        "CLIP, zero-shot",
        lambda picture: vision.encode_image(to_batch([picture]))["image_embeds"][0].float().cpu(),
        encode_text,
    )

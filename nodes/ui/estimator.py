"""What tells ages in a graph: ComfyUI's CLIP, or the world's own estimator."""

import torch

from ...training.catalogue import DRAWN_AGE_JUDGE, DRAWN_AGES, age_estimator_for
from ...training.errors import UserError
from ...training.faces.age_estimators import AgeEstimator, ZeroShotAgeEstimator
from ...training.faces.embedders import FaceEmbedder
from ...training.faces.face_api import FACE_API
from .folders import face_file
from .images import to_batch

CLIP_HELP = (
    "With a fitting clip, it judges the ages. Without: face-api's network where its files are in models/facenet; drawn "
    "faces (drawn-loss, drawn-score) have their own."
)

DRAWN = {"drawn-loss": DRAWN_AGES, "drawn-score": DRAWN_AGE_JUDGE}  # who judges has seen none of whom it judges


def age_estimator(embedder: FaceEmbedder | None, vision, words) -> AgeEstimator | None:
    """Of a CLIP's two halves; without either, the world's for drawn faces, and face-api's for others if it is there.

    Raises UserError where they are not two halves of one.
    """
    if vision is None and words is None:
        name = embedder.name if embedder else ""
        return age_estimator_for(name, DRAWN.get(name), face_file(FACE_API.name).parent)
    if vision is None or words is None:
        raise UserError("Judging ages needs both clip_vision and clip, two halves of one CLIP. Wire both or none.")
    model = words.cond_stage_model
    tower = getattr(model, "clip_g", None) or getattr(model, getattr(model, "clip", ""), None)
    if not getattr(tower, "return_projected_pooled", False):
        raise UserError(
            "This clip has no projection into the space of pictures, as Stable Diffusion 1.x's has none. Wire SDXL's "
            "with clip_vision_g, or Stable Diffusion 2.x's with clip_vision_h."
        )

    def encode_text(prompts: list[str]) -> torch.Tensor:
        pooled = [words.encode_from_tokens(words.tokenize(prompt), return_pooled=True)[1] for prompt in prompts]
        return torch.cat(pooled).float().cpu()

    return ZeroShotAgeEstimator(
        "CLIP, zero-shot",
        lambda picture: vision.encode_image(to_batch([picture]))["image_embeds"][0].float().cpu(),
        encode_text,
    )

"""Judge While Training."""

from comfy_api.latest import io

from .ui.estimator import CLIP_HELP, age_estimator
from .ui.sockets import CATEGORY, FaceEmbedder, JudgeChoice, JudgeSocket, search_aliases


class JudgeWhileTraining(io.ComfyNode):
    """Chooses how training previews are scored, so that training returns its best step."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingJudgeTraining",
            display_name="Judge While Training",
            category=CATEGORY,
            **search_aliases("early stopping", "best checkpoint", "best step"),
            description="Scores every preview of Train Aging Subject: how similar the six ages are to the photos, and "
            "whether they look their age. Training then returns its best step instead of its last.",
            inputs=[
                FaceEmbedder.Input(
                    "face_embedder", tooltip="Use another one than for the identity loss, or the scores are too high."
                ),
                io.ClipVision.Input("clip_vision", optional=True, tooltip=CLIP_HELP),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoder of the same CLIP: SDXL's for clip_vision_g, SD 2.x's for clip_vision_h.",
                ),
                io.Int.Input(
                    "patience",
                    default=0,
                    min=0,
                    max=100,
                    tooltip="Stop training when neither identity nor age improves for this many previews. 0: never.",
                ),
            ],
            outputs=[JudgeSocket.Output(display_name="judge", tooltip="Connect to Train Aging Subject.")],
        )

    @classmethod
    def execute(cls, face_embedder, patience: int, clip_vision=None, clip=None) -> io.NodeOutput:
        """Returns the judge. Training does the scoring."""
        return io.NodeOutput(JudgeChoice(face_embedder, age_estimator(face_embedder, clip_vision, clip), patience))

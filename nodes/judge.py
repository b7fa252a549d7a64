"""Judge While Training."""

from comfy_api.latest import io

from .ui.estimator import age_estimator, clip_inputs
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
                *clip_inputs(),
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

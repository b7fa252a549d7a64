"""Judge While Training."""

from comfy_api.latest import io

from .ui.estimator import CLIP_HELP, age_estimator
from .ui.sockets import CATEGORY, ChosenJudge, FaceEmbedder, JudgeSocket, search_aliases


class JudgeWhileTraining(io.ComfyNode):
    """Who looks at the previews of a training, so that its best step is kept."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingJudgeTraining",
            display_name="Judge While Training",
            category=CATEGORY,
            **search_aliases("early stopping", "best checkpoint", "best step"),
            description="Has every preview of Train Aging Subject judged: how alike the six ages are to the photos, "
            "and whether they look their age. The training then gives out its best step instead of its last.",
            inputs=[
                FaceEmbedder.Input(
                    "face_embedder", tooltip="Another one than that of the identity loss, or it flatters."
                ),
                io.ClipVision.Input("clip_vision", optional=True, tooltip=CLIP_HELP),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text half of the same CLIP: SDXL's for clip_vision_g, SD 2.x's for clip_vision_h.",
                ),
                io.Int.Input(
                    "patience",
                    default=0,
                    min=0,
                    max=100,
                    tooltip="End the training when neither identity nor age is better in this many previews; 0: never.",
                ),
            ],
            outputs=[JudgeSocket.Output(display_name="judge", tooltip="For Train Aging Subject.")],
        )

    @classmethod
    def execute(cls, face_embedder, patience: int, clip_vision=None, clip=None) -> io.NodeOutput:
        """Nothing is judged yet."""
        return io.NodeOutput(ChosenJudge(face_embedder, age_estimator(face_embedder, clip_vision, clip), patience))

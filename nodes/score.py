"""Score Identity."""

import math

from comfy_api.latest import io
from PIL import Image

from ..training.embedder import find_and_embed
from ..training.faces import Face
from ..training.scoring import Report, score
from ..training.sheet import annotated
from .device import matcher
from .images import to_batch, to_batches, to_pictures
from .sockets import CATEGORY, FaceEmbedder, also_called


class ScoreIdentity(io.ComfyNode):
    """How alike the faces in pictures are to those in reference photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Sockets and widgets."""
        return io.Schema(
            node_id="IDAgingScoreIdentity",
            display_name="Score Identity",
            category=CATEGORY,
            **also_called("face similarity", "face compare", "identity score"),
            description="Compares every picture's face with the reference photos. Pictures without a face are flagged, "
            "never dropped.",
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="Pictures to score, as a batch or a list."),
                io.Image.Input("references", tooltip="Photos of the subject, as a batch or a list."),
                FaceEmbedder.Input(
                    "face_embedder", tooltip="Another one than was trained with, or the score flatters."
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="annotated",
                    tooltip="Every picture with its face and similarity; those without a face have a red frame.",
                    is_output_list=True,
                ),
                io.Float.Output(
                    display_name="similarities",
                    tooltip="Mean cosine similarity to the references, from -1 to 1; nan where no face was found.",
                    is_output_list=True,
                ),
                io.Image.Output(display_name="best", tooltip="The most similar picture."),
                io.String.Output(
                    display_name="report",
                    tooltip="Every picture, and as the yardstick the references among themselves.",
                ),
            ],
        )

    @classmethod
    def execute(cls, images: list, references: list, face_embedder: list) -> io.NodeOutput:
        """All pictures at once."""
        device, find, embedder = matcher(face_embedder[0])
        pictures = to_pictures(images)
        seen = [find_and_embed(picture, find, embedder, device) for picture in pictures]
        known = [find_and_embed(photo, find, embedder, device)[1] for photo in to_pictures(references)]
        report = score(
            images={f"picture {number}": vector for number, (_, vector) in enumerate(seen, 1)},
            references={f"reference {number}": vector for number, vector in enumerate(known, 1)},
            matcher=embedder.name,
        )
        similarities = similarities_of(report)
        marked = marked_faces(pictures, [face for face, _ in seen], similarities)
        best = max(
            range(len(pictures)), key=lambda number: (not math.isnan(similarities[number]), similarities[number])
        )
        return io.NodeOutput(to_batches(marked), similarities, to_batch([pictures[best]]), report.table())


def similarities_of(report: Report) -> list[float]:
    """The mean similarity of each picture; nan where it has none, as a FLOAT socket wants it."""
    return [math.nan if row.mean_similarity is None else row.mean_similarity for row in report.images]


def marked_faces(pictures: list[Image.Image], faces: list[Face | None], similarities: list[float]) -> list[Image.Image]:
    """Every picture with its face and similarity; those without a face have a red frame."""
    return [
        annotated(picture, face and face.box, _label(face, similarity))
        for picture, face, similarity in zip(pictures, faces, similarities, strict=True)
    ]


def _label(face: Face | None, similarity: float) -> str:
    if face is None:
        return "no face"
    return "no reference" if math.isnan(similarity) else f"{similarity:.3f}"

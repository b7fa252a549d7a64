"""Score Identity."""

import math

from comfy_api.latest import io

from ..training.ages import display_name, parse_age
from ..training.biometrics.comparisons import against, among
from ..training.biometrics.copies import distinct
from ..training.report.text import score_table
from .ui.checks import in_turn
from .ui.device import observer
from .ui.images import to_batch, to_batches, to_pictures
from .ui.progress import watched
from .ui.scores import marked_faces, similarities_of
from .ui.sockets import CATEGORY, FaceEmbedder, search_aliases


class ScoreIdentity(io.ComfyNode):
    """How alike the faces in pictures are to those in reference photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingScoreIdentity",
            display_name="Score Identity",
            category=CATEGORY,
            **search_aliases("face similarity", "face compare", "identity score"),
            description="Compares every picture's face with the reference photos, and says what that means: same "
            "person, likely, not alike. Pictures without a face are flagged, never dropped.",
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="Pictures to score, as a batch or a list."),
                io.Image.Input("references", tooltip="Photos of the subject, as a batch or a list."),
                FaceEmbedder.Input(
                    "face_embedder", tooltip="Another one than was trained with, or the score flatters."
                ),
                io.String.Input(
                    "ages", optional=True, force_input=True, tooltip="The age asked for in each picture, in turn."
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="annotated",
                    tooltip="Every picture with its face, similarity and verdict; without a face it has a red frame.",
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
    def execute(cls, images: list, references: list, face_embedder: list, ages=None) -> io.NodeOutput:
        """All pictures at once."""
        look, pictures = observer(face_embedder[0]), to_pictures(images)
        names = [f"picture {number}" for number in range(1, len(pictures) + 1)]
        if ages:
            asked = in_turn([display_name(parse_age(age)) for age in ages], len(pictures), "ages")
            names = [f"{number} {age}" for number, age in enumerate(asked, 1)]
        photos = [(f"reference {number}", photo) for number, photo in enumerate(to_pictures(references), 1)]
        both = [look.observe(*one) for one in watched([*zip(names, pictures, strict=True), *photos])]
        seen, (known, repeats) = both[: len(names)], distinct(both[len(names) :])
        compared, thresholds = against(seen, known), look.embedder.facts.thresholds
        similarities = similarities_of(compared)
        best = max(
            range(len(pictures)), key=lambda number: (not math.isnan(similarities[number]), similarities[number])
        )
        return io.NodeOutput(
            to_batches(marked_faces(pictures, compared, thresholds)),
            similarities,
            to_batch([pictures[best]]),
            "\n".join([score_table(compared, among(known), look.embedder.name, thresholds), *repeats]),
        )

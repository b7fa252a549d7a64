"""Score Identity."""

import math

from comfy_api.latest import io
from PIL import Image

from ..training.ages import display_name, parse_age
from ..training.biometrics.comparisons import Comparisons, against, among
from ..training.biometrics.copies import distinct
from ..training.biometrics.verdicts import LIKELY, SAME, UNLIKE, verdict
from ..training.faces.embedders import Thresholds
from ..training.faces.observation import Observation
from ..training.pictures.sheet import FOUND, MISSING, annotated
from ..training.report.text import score_table
from .comfy.checks import in_turn
from .comfy.device import observer
from .comfy.images import to_batch, to_batches, to_pictures
from .comfy.sockets import CATEGORY, FaceEmbedder, also_called
from .comfy.watch import watched

COLOURS = {SAME: FOUND, LIKELY: (234, 179, 8), UNLIKE: MISSING}


class ScoreIdentity(io.ComfyNode):
    """How alike the faces in pictures are to those in reference photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingScoreIdentity",
            display_name="Score Identity",
            category=CATEGORY,
            **also_called("face similarity", "face compare", "identity score"),
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


def similarities_of(compared: Comparisons) -> list[float]:
    """The mean similarity of each picture; nan where it has none, as a FLOAT socket wants it."""
    return [math.nan if similarity is None else similarity for similarity in compared.means]


def marked_faces(
    pictures: list[Image.Image], compared: Comparisons, thresholds: Thresholds | None
) -> list[Image.Image]:
    """Every picture with its face, similarity and verdict; without a face it has a red frame."""
    marked = []
    for picture, seen, similarity in zip(pictures, compared.pictures, compared.means, strict=True):
        colour = COLOURS.get(verdict(similarity, thresholds), FOUND)
        marked.append(
            annotated(picture, seen.face.box if seen.face else None, _label(seen, similarity, thresholds), colour)
        )
    return marked


def similarity_label(similarity: float, thresholds: Thresholds | None) -> str:
    """A similarity that is no nan, and below it what it means, where that is known."""
    return "\n".join(filter(None, (f"{similarity:.3f}", verdict(similarity, thresholds))))


def _label(seen: Observation, similarity: float | None, thresholds: Thresholds | None) -> str:
    if seen.face is None:
        return "no face"
    label = "no reference" if similarity is None else similarity_label(similarity, thresholds)
    return f"{label}\n{seen.doubt}" if seen.doubt else label

"""Score Identity."""

import math

from comfy_api.latest import io

from ..training.ages import display_name, parse_age
from ..training.biometrics.comparisons import against, among
from ..training.biometrics.copies import distinct
from ..training.report.text import score_table
from .ui.checks import repeat_for, the_only
from .ui.device import observer
from .ui.images import to_batch, to_batches, to_pictures
from .ui.progress import with_progress
from .ui.scores import marked_faces, similarities_of
from .ui.sockets import CATEGORY, FaceEmbedder, search_aliases


class ScoreIdentity(io.ComfyNode):
    """Scores how similar the faces in images are to those in reference photos."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingScoreIdentity",
            display_name="Score Identity",
            category=CATEGORY,
            **search_aliases("face similarity", "face compare", "identity score"),
            description="Compares the face in each image with the reference photos and gives a verdict: same person, "
            "likely or not alike. Images without a face are marked, never dropped.",
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="Images to score, as a batch or a list."),
                io.Image.Input("references", tooltip="Photos of the subject, as a batch or a list."),
                FaceEmbedder.Input(
                    "face_embedder", tooltip="Use another one than in training, or the scores are too high."
                ),
                io.String.Input(
                    "ages",
                    optional=True,
                    force_input=True,
                    tooltip="The intended age of each image, in order. The list repeats.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="annotated",
                    tooltip="All images with face, similarity and verdict. Images without a face have a red frame.",
                    is_output_list=True,
                ),
                io.Float.Output(
                    display_name="similarities",
                    tooltip="Mean cosine similarity to the references, from -1 to 1; nan if no face was found.",
                    is_output_list=True,
                ),
                io.Image.Output(display_name="best", tooltip="The most similar image."),
                io.String.Output(
                    display_name="report",
                    tooltip="Scores per image, and how similar the references are to each other, for comparison.",
                ),
            ],
        )

    @classmethod
    def execute(cls, images: list, references: list, face_embedder: list, ages=None) -> io.NodeOutput:
        """Processes all images in one call."""
        face_observer, pictures = observer(the_only(face_embedder, "face_embedder")), to_pictures(images)
        names = [f"image {number}" for number in range(1, len(pictures) + 1)]
        if ages:
            intended = repeat_for([display_name(parse_age(age)) for age in ages], len(pictures), "ages")
            names = [f"{number} {age}" for number, age in enumerate(intended, 1)]
        photos = [(f"reference {number}", photo) for number, photo in enumerate(to_pictures(references), 1)]
        named = [*zip(names, pictures, strict=True), *photos]
        observations = [face_observer.observe(name, picture) for name, picture in with_progress(named)]
        image_faces, (reference_faces, repeats) = observations[: len(names)], distinct(observations[len(names) :])
        compared, thresholds = against(image_faces, reference_faces), face_observer.embedder.facts.thresholds
        similarities = similarities_of(compared)
        best = max(
            range(len(pictures)), key=lambda number: (not math.isnan(similarities[number]), similarities[number])
        )
        return io.NodeOutput(
            to_batches(marked_faces(pictures, compared, thresholds)),
            similarities,
            to_batch([pictures[best]]),
            "\n".join(
                [score_table(compared, among(reference_faces), face_observer.embedder.name, thresholds), *repeats]
            ),
        )

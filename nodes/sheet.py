"""Aging Contact Sheet."""

import math

from comfy_api.latest import io

from ..training.pictures.sheet import sheet_of_rows
from .ui.checks import one_per_image, repeat_for, the_only
from .ui.images import to_batch, to_pictures
from .ui.scores import similarity_label
from .ui.sockets import CATEGORY, FaceEmbedder, advanced, search_aliases


class AgingSheet(io.ComfyNode):
    """Puts images side by side, each labelled with age and similarity."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingAgingSheet",
            display_name="Aging Contact Sheet",
            category=CATEGORY,
            **search_aliases("contact sheet", "image grid"),
            description="Arranges a sequence in one image, with age and similarity below each face.",
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip="The sequence, as a batch or a list. All images are scaled to the size of the first.",
                ),
                io.String.Input("ages", optional=True, force_input=True, tooltip="Labels from Age Sequence Encode."),
                io.Float.Input(
                    "similarities",
                    optional=True,
                    force_input=True,
                    tooltip="One per image, from Score Identity or Identity Report.",
                ),
                io.Int.Input("columns", default=6, min=1, max=64, tooltip="Number of images per row."),
                FaceEmbedder.Input(
                    "face_embedder",
                    optional=True,
                    tooltip="The one used for scoring. Adds a verdict to each similarity.",
                ),
                advanced(
                    io.String.Input(
                        "rows",
                        optional=True,
                        default="",
                        tooltip="Row headings, separated by commas. With similarities, each also shows the mean of its "
                        "row.",
                    )
                ),
            ],
            outputs=[io.Image.Output(display_name="sheet", tooltip="The contact sheet as one image.")],
        )

    @classmethod
    def execute(
        cls, images: list, columns: list, ages=None, similarities=None, face_embedder=None, rows=("",)
    ) -> io.NodeOutput:
        """Processes all images in one call."""
        embedder = the_only(face_embedder, "face_embedder") if face_embedder else None
        pictures = to_pictures(images)
        labels = [[] for _ in pictures]  # the lines below each image
        thresholds = embedder.facts.thresholds if embedder else None
        if ages:
            for lines, age in zip(labels, repeat_for(ages, len(pictures), "ages"), strict=True):
                lines.append(str(age))
        if similarities:
            similarities = one_per_image(similarities, len(pictures), "similarities")
            for lines, similarity in zip(labels, similarities, strict=True):
                lines.append("no face" if math.isnan(similarity) else similarity_label(similarity, thresholds))
        size = pictures[0].size
        scaled = [picture if picture.size == size else picture.resize(size) for picture in pictures]
        headings = [name.strip() for name in the_only(rows, "rows").split(",") if name.strip()]
        texts, columns_per_row = ["\n".join(lines) for lines in labels], the_only(columns, "columns")
        sheet = sheet_of_rows(scaled, texts, columns_per_row, headings, similarities)
        return io.NodeOutput(to_batch([sheet]))

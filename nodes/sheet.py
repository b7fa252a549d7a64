"""Aging Contact Sheet."""

import math

from comfy_api.latest import io

from ..training.pictures.sheet import sheet_of_rows
from .ui.checks import in_turn
from .ui.images import to_batch, to_pictures
from .ui.scores import similarity_label
from .ui.sockets import CATEGORY, FaceEmbedder, advanced, search_aliases


class AgingSheet(io.ComfyNode):
    """Pictures side by side, each with its age and similarity."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingAgingSheet",
            display_name="Aging Contact Sheet",
            category=CATEGORY,
            **search_aliases("contact sheet", "image grid"),
            description="Puts a sequence into one picture, each with its age and similarity below.",
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip="The sequence, as a batch or a list. Pictures of other sizes are "
                    "scaled to the first one's.",
                ),
                io.String.Input("ages", optional=True, force_input=True, tooltip="From Age Sequence Encode."),
                io.Float.Input("similarities", optional=True, force_input=True, tooltip="From Score Identity."),
                io.Int.Input("columns", default=6, min=1, max=64, tooltip="Pictures in a row."),
                FaceEmbedder.Input(
                    "face_embedder", optional=True, tooltip="The one that scored: says what each similarity means."
                ),
                advanced(
                    io.String.Input(
                        "rows",
                        optional=True,
                        default="",
                        tooltip="A heading for each row, separated by commas; with similarities it says their mean.",
                    )
                ),
            ],
            outputs=[io.Image.Output(display_name="sheet", tooltip="One picture.")],
        )

    @classmethod
    def execute(
        cls, images: list, columns: list, ages=None, similarities=None, face_embedder=None, rows=("",)
    ) -> io.NodeOutput:
        """All pictures at once."""
        pictures = to_pictures(images)
        labels = [[] for _ in pictures]
        thresholds = face_embedder[0].facts.thresholds if face_embedder else None
        if ages:
            for row, age in zip(labels, in_turn(ages, len(pictures), "ages"), strict=True):
                row.append(str(age))
        if similarities:
            similarities = in_turn(similarities, len(pictures), "similarities")
            for row, similarity in zip(labels, similarities, strict=True):
                row.append("no face" if math.isnan(similarity) else similarity_label(similarity, thresholds))
        size = pictures[0].size
        same = [picture if picture.size == size else picture.resize(size) for picture in pictures]
        headings = [name.strip() for name in rows[0].split(",") if name.strip()]
        sheet = sheet_of_rows(same, ["\n".join(row) for row in labels], columns[0], headings, similarities)
        return io.NodeOutput(to_batch([sheet]))

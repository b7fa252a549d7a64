"""Align Faces."""

from comfy_api.latest import io

from ..training.errors import UserError
from ..training.faces.find import cut_square, upright
from ..training.pictures.sheet import annotated
from .ui.device import detector
from .ui.images import to_batch, to_batches, to_pictures
from .ui.progress import watched
from .ui.sockets import CATEGORY, advanced, search_aliases


class AlignFaces(io.ComfyNode):
    """Cuts the main face out of every picture, eyes level."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingAlignFaces",
            display_name="Align Faces",
            category=CATEGORY,
            **search_aliases("face crop", "face detection", "mtcnn"),
            description="Finds the largest, most central face of each picture, turns it upright and cuts it out.",
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="Pictures of any size, as a batch or a list."),
                io.Int.Input(
                    "size", default=512, min=64, max=2048, step=64, tooltip="Side of the cut faces, in pixels."
                ),
                io.Float.Input(
                    "margin",
                    default=0.5,
                    min=0.0,
                    max=3.0,
                    step=0.05,
                    tooltip="What is kept around the face on each side, in face sizes. More shows more hair and "
                    "shoulders.",
                ),
                advanced(
                    io.Boolean.Input(
                        "level_eyes", default=True, tooltip="Turn each face until its eyes are level. Off: only cut."
                    )
                ),
            ],
            outputs=[
                io.Image.Output(display_name="faces", tooltip="One cut face for every picture that has one."),
                io.Image.Output(
                    display_name="annotated",
                    tooltip="Every picture, with its face marked; those without one have a red frame.",
                    is_output_list=True,
                ),
                io.String.Output(display_name="report", tooltip="What was found in each picture."),
            ],
        )

    @classmethod
    def execute(cls, images: list, size: list, margin: list, level_eyes: list) -> io.NodeOutput:
        """All pictures at once, so that one report speaks of all."""
        find, pictures = detector(), to_pictures(images)
        cut, marked, lines = [], [], []
        for number, picture in enumerate(watched(pictures), 1):
            found = find(picture)
            face = next(iter(found), None)
            lines.append(f"picture {number}: {len(found)} face{'' if len(found) == 1 else 's'} found")
            marked.append(annotated(picture, face.box if face else None, str(number) if face else f"{number}: no face"))
            if face:
                whole = upright(picture, face) if level_eyes[0] else (picture, face)
                cut.append(cut_square(*whole, size[0], margin[0])[0])
        if not cut:
            raise UserError(
                f"No face was found in any of the {len(pictures)} pictures. Use larger faces seen from the front."
            )
        lines.append(f"{len(cut)} of {len(pictures)} pictures have a face")
        return io.NodeOutput(to_batch(cut), to_batches(marked), "\n".join(lines))

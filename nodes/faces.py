"""Align Faces."""

from comfy_api.latest import io

from ..training.errors import NoFaceFound
from ..training.faces.find import cut_square, upright
from ..training.pictures.sheet import annotated
from .ui.checks import the_only
from .ui.device import detector
from .ui.images import to_batch, to_batches, to_pictures
from .ui.progress import with_progress
from .ui.sockets import CATEGORY, advanced, search_aliases


class AlignFaces(io.ComfyNode):
    """Crops the main face of each image, with level eyes."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingAlignFaces",
            display_name="Align Faces",
            category=CATEGORY,
            **search_aliases("face crop", "face detection", "mtcnn"),
            description="Finds the main face of each image, turns it upright and crops it. The largest face is the "
            "main one; of nearly equal ones, the most central.",
            is_input_list=True,
            inputs=[
                io.Image.Input("images", tooltip="Images of any size, as a batch or a list."),
                io.Int.Input(
                    "size",
                    default=512,
                    min=64,
                    max=2048,
                    step=64,
                    tooltip="Side length of the cropped faces, in pixels.",
                ),
                io.Float.Input(
                    "margin",
                    default=0.5,
                    min=0.0,
                    max=3.0,
                    step=0.05,
                    tooltip="Space to keep around the face on each side, in face sizes. A larger margin shows more "
                    "hair and shoulders.",
                ),
                advanced(
                    io.Boolean.Input(
                        "level_eyes",
                        default=True,
                        tooltip="Rotate each face until the eyes are level. Off: crop without rotating.",
                    )
                ),
            ],
            outputs=[
                io.Image.Output(display_name="faces", tooltip="One cropped face per image that has a face."),
                io.Image.Output(
                    display_name="annotated",
                    tooltip="All images with the face marked. Images without a face have a red frame.",
                    is_output_list=True,
                ),
                io.String.Output(display_name="report", tooltip="The number of faces found in each image."),
            ],
        )

    @classmethod
    def execute(cls, images: list, size: list, margin: list, level_eyes: list) -> io.NodeOutput:
        """Processes all images in one call, so that one report covers them."""
        detect, pictures = detector(), to_pictures(images)
        side, space, levels = the_only(size, "size"), the_only(margin, "margin"), the_only(level_eyes, "level_eyes")
        crops, marked, lines = [], [], []
        for number, picture in enumerate(with_progress(pictures), 1):
            faces = detect(picture)
            face = next(iter(faces), None)
            lines.append(f"image {number}: {len(faces)} face{'' if len(faces) == 1 else 's'} found")
            marked.append(annotated(picture, face.box if face else None, str(number) if face else f"{number}: no face"))
            if face:
                levelled = upright(picture, face) if levels else (picture, face)
                crops.append(cut_square(*levelled, side, space)[0])
        if not crops:
            raise NoFaceFound(
                f"No face found in any of the {len(pictures)} images. Use images with larger faces, seen from the "
                "front."
            )
        lines.append(f"{len(crops)} of {len(pictures)} images have a face")
        return io.NodeOutput(to_batch(crops), to_batches(marked), "\n".join(lines))

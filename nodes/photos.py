"""Load Photos."""

from comfy_api.latest import io

from ..training.pictures.photos import read_folder
from .comfy.folders import input_folder, input_folder_problem, input_folder_state, input_folders
from .comfy.images import kept_on_node, thumbnails, to_batches
from .comfy.sockets import CATEGORY, also_called, keeps_results


class LoadPhotos(io.ComfyNode):
    """A folder of pictures of any sizes. ComfyUI has such a node too, under another id in each of its versions."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingLoadPhotos",
            display_name="Load Photos",
            category=CATEGORY,
            **keeps_results(),
            **also_called("photos folder", "load folder", "image folder", "load images from folder"),
            description="Opens every picture of a folder, each at its own size and upright.",
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=input_folders(),
                    tooltip="Folder under ComfyUI's input folder, or right under its output folder, with jpg, png or "
                    "webp files. To train, 3-30 photos of one person.",
                )
            ],
            outputs=[
                io.Image.Output(
                    display_name="photos", tooltip="The pictures, by file name, as a list.", is_output_list=True
                )
            ],
        )

    @classmethod
    def validate_inputs(cls, folder: str) -> bool | str:
        """Refuses a folder that is none of those offered, in a sentence."""
        return input_folder_problem(folder, "the photos")

    @classmethod
    def fingerprint_inputs(cls, folder: str) -> list[tuple[str, int, int]]:
        """Changes when a file comes, goes or changes."""
        return input_folder_state(folder)

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        """Reads the pictures."""
        pictures = [photo.image() for photo in read_folder(input_folder(folder), "photos")]
        return io.NodeOutput(to_batches(pictures), ui=kept_on_node(f"{len(pictures)} photos", thumbnails(pictures)))

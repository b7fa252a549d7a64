"""Load Age Regularization Set."""

from comfy_api.latest import io

from ..training.data.ages_in_names import CAPTION_RULE
from ..training.data.dataset import read_regularization_set
from ..training.pictures.photos import left_out
from .ui.checks import sentence
from .ui.folders import input_folder, input_folder_problem, input_folder_state, input_folders
from .ui.sockets import CATEGORY, AgeSet, search_aliases

FACES = "faces of other people (or generate them with the graph make_regularization_set and select ages [output])"


class LoadRegularizationSet(io.ComfyNode):
    """Loads a folder of faces with known ages."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingLoadRegularizationSet",
            display_name="Load Age Regularization Set",
            category=CATEGORY,
            **search_aliases("class images", "prior preservation", "dreambooth regularization"),
            description="Loads faces of other people with their ages. They remind the model what each age looks like "
            f"while it learns one person. The age of each image is {CAPTION_RULE}.",
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=input_folders(),
                    tooltip="A folder inside ComfyUI's input folder, or directly inside its output folder. Use 20 or "
                    "more images for each of the six ages.",
                )
            ],
            outputs=[
                AgeSet.Output(display_name="ages", tooltip="Connect to Train Aging Subject."),
                io.String.Output(display_name="report", tooltip="The number of images per age, and the skipped files."),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder: str) -> bool | str:
        """Rejects a folder that is missing or empty, and images without a known age."""
        problem = input_folder_problem(folder, FACES)
        return sentence(read_regularization_set, input_folder(folder)) if problem is True else problem

    @classmethod
    def fingerprint_inputs(cls, folder: str) -> list[tuple[str, int, int]]:
        """Changes when a file is added, removed or modified."""
        return input_folder_state(folder)

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        """Reads the ages. Training reads the images."""
        ages = read_regularization_set(input_folder(folder))
        return io.NodeOutput(ages, "\n".join([ages.report, *left_out(input_folder(folder))]))

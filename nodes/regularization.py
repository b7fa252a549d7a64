"""Load Age Regularization Set."""

from comfy_api.latest import io

from ..training.data.ages_in_names import CAPTION_RULE
from ..training.data.dataset import read_regularization_set
from ..training.pictures.photos import left_out
from .ui.checks import sentence
from .ui.folders import input_folder, input_folder_problem, input_folder_state, input_folders
from .ui.sockets import CATEGORY, AgeSet, search_aliases

FACES = "faces of other people (the graph make_regularization_set draws them: ages [output])"


class LoadRegularizationSet(io.ComfyNode):
    """A folder of age-captioned faces."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingLoadRegularizationSet",
            display_name="Load Age Regularization Set",
            category=CATEGORY,
            **search_aliases("class images", "prior preservation", "dreambooth regularization"),
            description="Faces of other people, each with its age. They keep the model's idea of an age intact while "
            "one person is trained. "
            f"The age of each picture is {CAPTION_RULE}.",
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=input_folders(),
                    tooltip="Folder under ComfyUI's input folder, or right under its output folder. More pictures of "
                    "an age keep that age truer; 20 or more for each of the six are good.",
                )
            ],
            outputs=[
                AgeSet.Output(display_name="ages", tooltip="For Train Aging Subject."),
                io.String.Output(
                    display_name="report", tooltip="How many pictures each age has, and what was left out."
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder: str) -> bool | str:
        """Refuses a folder that is none of those offered, and pictures whose age is not known."""
        problem = input_folder_problem(folder, FACES)
        return sentence(read_regularization_set, input_folder(folder)) if problem is True else problem

    @classmethod
    def fingerprint_inputs(cls, folder: str) -> list[tuple[str, int, int]]:
        """Changes when a file comes, goes or changes."""
        return input_folder_state(folder)

    @classmethod
    def execute(cls, folder: str) -> io.NodeOutput:
        """Reads the captions; the pictures are read when they are needed."""
        ages = read_regularization_set(input_folder(folder))
        return io.NodeOutput(ages, "\n".join([ages.report, *left_out(input_folder(folder))]))

"""Load Age Regularization Set."""

from comfy_api.latest import io

from ..training.data.ages_in_names import BY_NAME, CAPTION_RULE, ESTIMATED
from ..training.data.dataset import read_regularization_set
from ..training.pictures.photos import left_out
from .ui.checks import blame_only, sentence
from .ui.device import detector
from .ui.estimator import auto_ages_inputs, needed_age_estimator
from .ui.folders import input_folder, input_folder_problem, input_folder_state, input_folders
from .ui.progress import with_progress
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
                ),
                io.Combo.Input(
                    "ages",
                    options=[BY_NAME, ESTIMATED],
                    default=BY_NAME,
                    optional=True,
                    advanced=True,
                    tooltip="names: the name, folder or text of every image must say its age. auto: estimate the ages "
                    "that are missing; images without a face are left out.",
                ),
                *auto_ages_inputs(),
            ],
            outputs=[
                AgeSet.Output(display_name="ages", tooltip="Connect to Train Aging Subject."),
                io.String.Output(display_name="report", tooltip="The number of images per age, and the skipped files."),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder: str, ages=BY_NAME) -> bool | str:
        """Rejects a folder that is missing or empty, and images without a known age unless ages are estimated."""
        if (problem := blame_only("folder", input_folder_problem(folder, FACES))) is not True:
            return problem
        if ages not in (BY_NAME, ESTIMATED, None):  # ComfyUI does not check an input that is checked here
            return blame_only("ages", f"'{ages}' is not a way to read ages. Use {BY_NAME} or {ESTIMATED}.")
        if ages != BY_NAME:
            return True
        return blame_only("folder", sentence(read_regularization_set, input_folder(folder)))

    @classmethod
    def fingerprint_inputs(cls, folder: str, **others) -> list[tuple[str, int, int]]:
        """Changes when a file is added, removed or modified."""
        return input_folder_state(folder)

    @classmethod
    def execute(cls, folder: str, ages=BY_NAME, face_embedder=None, clip_vision=None, clip=None) -> io.NodeOutput:
        """Reads or estimates the ages. Training reads the images."""
        path, estimator = input_folder(folder), None
        if ages == ESTIMATED:
            estimator = needed_age_estimator(face_embedder, clip_vision, clip)
        faces = detector(face_embedder) if estimator else None
        images = read_regularization_set(path, estimator, faces, with_progress)
        return io.NodeOutput(images, "\n".join([images.report, *left_out(path)]))

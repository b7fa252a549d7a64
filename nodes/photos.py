"""Load Photos."""

from itertools import chain

from comfy_api.latest import io
from PIL import Image

from ..training.ages import UNKNOWN_AGE
from ..training.data.ages_in_names import BY_NAME, ESTIMATED
from ..training.data.dataset import estimate_ages, find_faces
from ..training.data.dates import parse_birth_date, with_birth_date
from ..training.data.doubts import age_doubts
from ..training.data.subject_photos import ages_remarks, listed, other_folders, read_photos, with_ages
from ..training.pictures.masks import mask_of
from ..training.pictures.photos import Photo, left_out, read_all
from .ui.checks import blame_only, sentence
from .ui.device import detector
from .ui.estimator import age_estimator, auto_ages_inputs, needed_age_estimator
from .ui.folders import input_folder, input_folder_problem, input_folder_state, input_folders
from .ui.images import to_batches
from .ui.progress import tell, warn, with_progress
from .ui.results import kept_on_node, thumbnails
from .ui.sockets import CATEGORY, keeps_results, search_aliases


class LoadPhotos(io.ComfyNode):
    """Loads a folder of images of any size. ComfyUI has such a node too, but its id changes between versions."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingLoadPhotos",
            display_name="Load Photos",
            category=CATEGORY,
            **keeps_results(),
            **search_aliases("photos folder", "load folder", "image folder", "load images from folder"),
            description="Loads all images in a folder, each in its own size, upright and in sRGB, with its age, "
            "caption and mask. Thumbnails, reports and other masks are skipped and listed on the node.",
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=input_folders(),
                    tooltip="An image folder inside ComfyUI's input folder, or directly inside its output folder. For "
                    "training: 3-30 photos of one person.",
                ),
                io.String.Input(
                    "ages",
                    default=BY_NAME,
                    optional=True,
                    tooltip="names: read the age from the start of the file name (34_beach.jpg, child_2.jpg) or from "
                    "names as in AgeDB, FG-NET, MORPH, UTKFace or MyTimeMachine, from the folder name or a .txt file "
                    "next to the photo. auto: also estimate the ages that are missing. Or list one age per photo, in "
                    f"order, with {UNKNOWN_AGE} for unknown: 8, 8, {UNKNOWN_AGE}, old.",
                ),
                *auto_ages_inputs(),
                io.Boolean.Input(
                    "sub_folders",
                    display_name="sub-folders",
                    default=False,
                    optional=True,
                    tooltip="Also load the images in all sub-folders. Off: only from sub-folders named after an age "
                    "(child, 34).",
                ),
                io.String.Input(
                    "birth_date",
                    display_name="birth date",
                    default="",
                    optional=True,
                    advanced=True,
                    tooltip="The person's date of birth, YYYY-MM-DD. Photos of unknown age get the age at the date in "
                    "their EXIF data, which for a scan may be the date of the scan. Empty: dates are not used.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="photos", tooltip="The images as a list, sorted by file name.", is_output_list=True
                ),
                io.String.Output(
                    display_name="ages",
                    tooltip="The age in each photo. Connect to photo_ages of Train Aging Subject or Identity Report.",
                    is_output_list=True,
                ),
                io.String.Output(
                    display_name="captions",
                    tooltip="The .txt file of each photo. Connect to Train Aging Subject to use it as the prompt.",
                    is_output_list=True,
                ),
                io.String.Output(
                    display_name="report",
                    tooltip="Summary of the photos. To correct ages, copy them from here into ages.",
                ),
                io.Mask.Output(
                    display_name="masks",
                    tooltip="White where the person is, from name-mask.png next to a photo or from its transparency. "
                    "All white without either.",
                    is_output_list=True,
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder: str, birth_date="") -> bool | str:
        """Rejects a folder that is missing or has no images, and a birth date that is no date."""
        if (problem := blame_only("folder", input_folder_problem(folder, "your photos"))) is not True:
            return problem
        return blame_only("birth_date", sentence(parse_birth_date, birth_date))

    @classmethod
    def fingerprint_inputs(cls, folder: str, **others) -> list[tuple[str, int, int]]:
        """Changes when a file is added, removed or modified."""
        return input_folder_state(folder)

    @classmethod
    def execute(
        cls, folder: str, ages=BY_NAME, face_embedder=None, clip_vision=None, clip=None, sub_folders=False,
        birth_date="",
    ) -> io.NodeOutput:  # fmt: skip
        """Reads the photos, their ages, captions and masks."""
        path = input_folder(folder)
        others = [] if sub_folders else other_folders(path)
        photos = read_photos(path, "photos", others)
        pictures, reading_remarks = zip(*read_all(photos, with_progress), strict=True)
        remarks = [*left_out(path), *chain.from_iterable(reading_remarks)]
        if others:
            remarks.append(f"Skipped sub-folders: {', '.join(others)}. Turn on sub_folders to include them.")
        tell(remarks, cls.hidden.unique_id)
        estimates = ages.strip() == ESTIMATED
        photos = with_birth_date(photos if estimates else with_ages(photos, ages), birth_date)
        photos, doubts = _estimated(photos, estimates, face_embedder, clip_vision, clip)
        warn(cls.hidden.unique_id, doubts)
        age_lines = ages_remarks(photos)
        if all(photo.age is None for photo in photos):
            age_lines.insert(0, "No photo has a known age.")
        report = "\n".join([f"{len(photos)} photos", *age_lines, *doubts, *remarks])
        pairs = zip(photos, pictures, strict=True)
        masks = [mask_of(photo) or Image.new("L", picture.size, "white") for photo, picture in pairs]
        return io.NodeOutput(
            to_batches(pictures),
            listed(photos).split(", "),
            [photo.caption or "" for photo in photos],
            report,
            to_batches(masks),
            ui=kept_on_node(report, thumbnails(pictures)),
        )


def _estimated(photos: list[Photo], fills: bool, embedder, vision, words) -> tuple[list[Photo], list[str]]:
    """Returns the photos, with missing ages estimated if ``fills``, and warnings about stated ages.

    Does nothing if no estimator is needed or connected. Raises UserError if ages are estimated without an estimator.
    """
    if not fills and all(part is None for part in (embedder, vision, words)):
        return photos, []
    choose = needed_age_estimator if fills else age_estimator
    if (estimator := choose(embedder, vision, words)) is None:
        return photos, []
    subject = find_faces(photos, detector(embedder), with_progress)
    doubts = age_doubts(subject, estimator)
    return (estimate_ages(subject, estimator) if fills else subject).photos, doubts

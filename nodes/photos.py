"""Load Photos."""

from itertools import chain

from comfy_api.latest import io
from PIL import Image

from ..training.ages import UNKNOWN_AGE
from ..training.data.ages_in_names import BY_NAME, ESTIMATED
from ..training.data.dataset import estimate_ages, find_faces
from ..training.data.subject_photos import ages_remarks, listed, other_folders, read_photos, with_ages
from ..training.errors import UserError
from ..training.pictures.masks import mask_of
from ..training.pictures.photos import Photo, left_out, read_all
from .ui.device import detector
from .ui.estimator import CLIP_HELP, age_estimator
from .ui.folders import input_folder, input_folder_problem, input_folder_state, input_folders
from .ui.images import to_batches
from .ui.progress import tell, watched
from .ui.results import kept_on_node, thumbnails
from .ui.sockets import CATEGORY, FaceEmbedder, keeps_results, search_aliases


class LoadPhotos(io.ComfyNode):
    """A folder of pictures of any sizes. ComfyUI has such a node too, under another id in each of its versions."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingLoadPhotos",
            display_name="Load Photos",
            category=CATEGORY,
            **keeps_results(),
            **search_aliases("photos folder", "load folder", "image folder", "load images from folder"),
            description="Opens every picture of a folder, each at its own size, upright and in sRGB, with its age, "
            "caption and mask. Thumbnails, reports and other masks are left out, and the node says so.",
            hidden=[io.Hidden.unique_id],
            inputs=[
                io.Combo.Input(
                    "folder",
                    options=input_folders(),
                    tooltip="Folder under ComfyUI's input folder, or right under its output folder, with pictures. To "
                    "train, 3-30 photos of one person.",
                ),
                io.String.Input(
                    "ages",
                    default=BY_NAME,
                    optional=True,
                    tooltip="names: the age is what the start of the file name (34_beach.jpg, child_2.jpg), the folder "
                    "or a .txt beside it says. auto: where nothing says it, what the judge sees. Or one for each "
                    f"photo, in order, and {UNKNOWN_AGE} where it is not known: 8, 8, {UNKNOWN_AGE}, old.",
                ),
                FaceEmbedder.Input(
                    "face_embedder", optional=True, tooltip="For ages auto of drawn faces: drawn-loss or drawn-score."
                ),
                io.ClipVision.Input("clip_vision", optional=True, tooltip="For ages auto. " + CLIP_HELP),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text half of the same CLIP: SDXL's for clip_vision_g, SD 2.x's for clip_vision_h.",
                ),
                io.Boolean.Input(
                    "sub_folders",
                    display_name="sub-folders",
                    default=False,
                    optional=True,
                    tooltip="Take the pictures in all sub-folders too. Off: only in those that an age names (child, "
                    "34).",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="photos", tooltip="The pictures, by file name, as a list.", is_output_list=True
                ),
                io.String.Output(
                    display_name="ages",
                    tooltip="The age in each photo, for Train Aging Subject and Identity Report (photo_ages).",
                    is_output_list=True,
                ),
                io.String.Output(
                    display_name="captions",
                    tooltip="The .txt beside each photo; wired into Train Aging Subject, its prompt.",
                    is_output_list=True,
                ),
                io.String.Output(
                    display_name="report", tooltip="What is known of the photos, to correct and write in."
                ),
                io.Mask.Output(
                    display_name="masks",
                    tooltip="White where the person is, by name-mask.png beside a photo or its transparency; else all.",
                    is_output_list=True,
                ),
            ],
        )

    @classmethod
    def validate_inputs(cls, folder: str) -> bool | str:
        """Refuses a folder that is none of those offered, in a sentence."""
        return input_folder_problem(folder, "the photos")

    @classmethod
    def fingerprint_inputs(cls, folder: str, **others) -> list[tuple[str, int, int]]:
        """Changes when a file comes, goes or changes."""
        return input_folder_state(folder)

    @classmethod
    def execute(
        cls, folder: str, ages=BY_NAME, face_embedder=None, clip_vision=None, clip=None, sub_folders=False
    ) -> io.NodeOutput:
        """Reads the pictures, and what is said of them."""
        path = input_folder(folder)
        others = [] if sub_folders else other_folders(path)
        photos = read_photos(path, "photos", others)
        pictures, oddities = zip(*read_all(photos, watched), strict=True)
        remarks = [*left_out(path), *chain.from_iterable(oddities)]
        if others:
            remarks.append(f"Left out are the sub-folders {', '.join(others)}; the switch sub_folders takes them in.")
        tell(remarks, cls.hidden.unique_id)
        if ages.strip() == ESTIMATED:
            photos = _estimated(photos, face_embedder, clip_vision, clip)
        else:
            photos = with_ages(photos, ages)
        known = ages_remarks(photos) or ["No age is known of any."]
        report = "\n".join([f"{len(photos)} photos", *known, *remarks])
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


def _estimated(photos: list[Photo], embedder, vision, words) -> list[Photo]:
    """Raises UserError where nothing that sees ages is wired."""
    estimator = age_estimator(embedder, vision, words)
    if estimator is None:
        raise UserError(
            f"Ages {ESTIMATED} need somebody who sees ages: wire clip_vision and clip, or the embedder of drawn faces, "
            "or fetch face-api's network by Load Face Embedder (mobilefacenet, download)."
        )
    return estimate_ages(find_faces(photos, detector(embedder), watched), estimator).photos

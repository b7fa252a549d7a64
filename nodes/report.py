"""Identity Report."""

from dataclasses import replace
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..training.pictures.photos import Photo
from ..training.report.build import GENERATED_ROW
from ..training.report.compare import Images, compare
from ..training.report.files import write
from ..training.report.plots import plots
from ..training.report.text import text
from .ui.checks import ages_in_turn, the_only
from .ui.device import observer
from .ui.estimator import age_estimator, clip_inputs
from .ui.images import to_batch, to_batches, to_pictures
from .ui.photos import photos_of
from .ui.progress import with_progress
from .ui.scores import marked_faces, similarities_of
from .ui.sockets import CATEGORY, AgeSet, FaceEmbedder, advanced, search_aliases

REPORTS = "identity_reports"  # under output/


class IdentityReport(io.ComfyNode):
    """The biometric report on a subject's pictures."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingIdentityReport",
            display_name="Identity Report",
            category=CATEGORY,
            **search_aliases("biometric report", "FMR FNMR", "face verification"),
            description="Reports error rates, estimated ages and copied training photos, with plots, and writes a page "
            f"to output/{REPORTS}. Results that too few images cannot support are marked.",
            is_input_list=True,
            is_output_node=True,
            inputs=[
                io.Image.Input("images", tooltip="Generated images of the subject, as a batch or a list."),
                io.Image.Input("references", tooltip="Photos of the subject, as a batch or a list."),
                FaceEmbedder.Input(
                    "face_embedder", tooltip="Use another one than in training, or the similarities are too high."
                ),
                io.String.Input(
                    "ages",
                    optional=True,
                    force_input=True,
                    tooltip="The intended age of each image, in order. The list repeats.",
                ),
                AgeSet.Input(
                    "others", optional=True, tooltip="Other people with known ages, for non-mated comparisons."
                ),
                io.Image.Input("impostors", optional=True, tooltip="More photos of other people."),
                io.Image.Input("untrained", optional=True, tooltip="Images from the base model, without training."),
                *clip_inputs(),
                io.Int.Input(
                    "photo_age", default=-1, min=-1, max=100, tooltip="Age in the photos, in years. -1: unknown."
                ),
                advanced(
                    io.String.Input("filename_prefix", default="identity", tooltip="Start of the page's file name.")
                ),
                io.String.Input(
                    "photo_ages",
                    optional=True,
                    force_input=True,
                    tooltip="The age in each reference, from Load Photos or as text (8, 8, ?, old).",
                ),
                io.Image.Input(
                    "held_out",
                    optional=True,
                    tooltip="Photos of the subject that were not used in training. They show the real person at their "
                    "age.",
                ),
                io.String.Input(
                    "held_out_ages",
                    optional=True,
                    force_input=True,
                    tooltip="The age in each held-out photo, as for photo_ages.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="annotated",
                    tooltip="All images, marked with face and similarity.",
                    is_output_list=True,
                ),
                io.Image.Output(display_name="plots", tooltip="The report's plots.", is_output_list=True),
                io.Float.Output(
                    display_name="similarities",
                    tooltip="Mean similarity per image, from -1 to 1; nan if no face was found.",
                    is_output_list=True,
                ),
                io.Float.Output(
                    display_name="estimated_years",
                    tooltip="Estimated age per image; nan if no face was found or there is no age estimator.",
                    is_output_list=True,
                ),
                io.Float.Output(
                    display_name="fnmr",
                    tooltip="FNMR at an FMR of at most 10 %, 1 %, 0.1 % and 0.01 %; nan if there are too few "
                    "comparisons.",
                    is_output_list=True,
                ),
                io.String.Output(display_name="report", tooltip="The report as text."),
                io.String.Output(display_name="page", tooltip="Path of the HTML page."),
            ],
        )

    @classmethod
    def execute(
        cls,
        images: list,
        references: list,
        face_embedder: list,
        photo_age: list,
        filename_prefix: list,
        ages=None,
        others=None,
        impostors=None,
        untrained=None,
        clip_vision=None,
        clip=None,
        photo_ages=None,
        held_out=None,
        held_out_ages=None,
    ) -> io.NodeOutput:
        """Observes all images, builds the report and writes its page."""
        embedder, age = the_only(face_embedder, "face_embedder"), the_only(photo_age, "photo_age")
        prefix = the_only(filename_prefix, "filename_prefix")
        halves = {"clip_vision": clip_vision, "clip": clip}
        estimator = age_estimator(embedder, *(half and the_only(half, name) for name, half in halves.items()))
        matcher = observer(embedder, estimator)
        generated, age_set = _photos("picture", images, ages), the_only(others, "others") if others else None
        others_of_known_age = zip(age_set.photos, age_set.ages, strict=True) if age_set else ()
        report = compare(
            Images(
                generated,
                _photos_of_subject("reference", references, photo_ages),
                [
                    *_photos("impostor", impostors),
                    *(replace(photo, age=age) for photo, age in others_of_known_age),
                ],
                _photos("untrained", untrained, ages),
                _photos_of_subject("held-out photo", held_out, held_out_ages),
            ),
            matcher,
            age if age >= 0 else None,
            bar=lambda task: with_progress,
        )
        originals, thresholds = [photo.image() for photo in generated], matcher.embedder.facts.thresholds
        marked = marked_faces(originals, report.images, thresholds)
        charts = list(plots(report).values())
        return io.NodeOutput(
            to_batches(marked),
            to_batches(charts) if charts else [to_batch(marked[:1])],
            similarities_of(report.images),
            [image.estimate.years if image.estimate else float("nan") for image in report.images.pictures],
            [point.fnmr if point.supported else float("nan") for point in report.row(GENERATED_ROW).points],
            text(report),
            str(_written(report, prefix, {photo.name: photo for photo in generated})),
        )


def _photos(name: str, batches: list | None, ages: list | None = None) -> list[Photo]:
    """The images of IMAGE batches, numbered, each with its age from ``ages``, which repeats if it is shorter."""
    images = to_pictures(batches or [])
    known = ages_in_turn(ages if images else None, len(images))
    return [
        Photo(f"{name} {number}", image, age=age)
        for number, (image, age) in enumerate(zip(images, known, strict=True), 1)
    ]


def _photos_of_subject(name: str, batches: list | None, ages: list | None) -> list[Photo]:
    photos = photos_of(batches, ages) if batches else []
    return [replace(photo, name=f"{name} {number}") for number, photo in enumerate(photos, 1)]


def _written(report, prefix: str, pictures: dict) -> Path:
    folder, stem, counter, _, _ = folder_paths.get_save_image_path(
        f"{REPORTS}/{prefix}", folder_paths.get_output_directory()
    )
    path = Path(folder) / f"{stem}_{counter:05}_.html"
    write(report, path, pictures)
    return path

"""Identity Report."""

from dataclasses import replace
from pathlib import Path

import folder_paths
from comfy_api.latest import io

from ..training.faces.observation import Observation
from ..training.pictures.photos import Photo
from ..training.report.build import DRAWN_ROW, build
from ..training.report.files import write
from ..training.report.plots import plots
from ..training.report.text import text
from .ui.checks import ages_in_turn
from .ui.device import observer
from .ui.estimator import CLIP_HELP, age_estimator
from .ui.images import to_batch, to_batches, to_pictures
from .ui.photos import photos_of
from .ui.progress import watched
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
                io.ClipVision.Input("clip_vision", optional=True, tooltip=CLIP_HELP),
                io.Clip.Input(
                    "clip",
                    optional=True,
                    tooltip="The text encoder of the same CLIP: SDXL's for clip_vision_g, SD 2.x's for clip_vision_h.",
                ),
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
        """All pictures at once."""
        estimator = age_estimator(face_embedder[0], *(half and half[0] for half in (clip_vision, clip)))
        look = observer(face_embedder[0], estimator)
        drawn = _photos("picture", images)
        asked = ages_in_turn(ages, len(drawn))
        photo_years = photo_age[0] if photo_age[0] >= 0 else None

        def observed(photos, known) -> list[Observation]:
            named = zip(watched(photos), known, strict=True)
            return [look.observe(photo.name, photo.image(), age) for photo, age in named]

        def of_subject(kind, batches, known) -> list[Observation]:
            photos = photos_of(batches, known)
            named = [replace(photo, name=f"{kind} {number}") for number, photo in enumerate(photos, 1)]
            return observed(named, [photo.age for photo in photos])

        strangers, before = _photos("impostor", impostors or []), _photos("untrained", untrained or [])
        people = observed(strangers, [None] * len(strangers))
        if others:
            people += observed(others[0].photos, others[0].ages)
        report = build(
            images=observed(drawn, asked),
            references=of_subject("reference", references, photo_ages),
            matcher=look.embedder.name,
            others=people,
            untrained=observed(before, ages_in_turn(ages, len(before)) if before else []),
            photo_age=photo_years,
            estimator=estimator.name if estimator else None,
            held_out=of_subject("held-out photo", held_out, held_out_ages) if held_out else [],
            facts=look.embedder.facts,
            errors=look.age_errors,
        )
        originals, thresholds = [photo.image() for photo in drawn], look.embedder.facts.thresholds
        seen, marked = report.images.pictures, marked_faces(originals, report.images, thresholds)
        charts = list(plots(report).values())
        return io.NodeOutput(
            to_batches(marked),
            to_batches(charts) if charts else [to_batch(marked[:1])],
            similarities_of(report.images),
            [face.estimate.years if face.estimate else float("nan") for face in seen],
            [point.fnmr if point.supported else float("nan") for point in report.row(DRAWN_ROW).points],
            text(report),
            str(_written(report, filename_prefix[0], {photo.name: photo for photo in drawn})),
        )


def _photos(kind: str, batches: list) -> list[Photo]:
    return [Photo(f"{kind} {number}", picture) for number, picture in enumerate(to_pictures(batches), 1)]


def _written(report, prefix: str, pictures: dict) -> Path:
    folder, stem, counter, _, _ = folder_paths.get_save_image_path(
        f"{REPORTS}/{prefix}", folder_paths.get_output_directory()
    )
    path = Path(folder) / f"{stem}_{counter:05}_.html"
    write(report, path, pictures)
    return path

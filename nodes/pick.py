"""Pick Best Per Age."""

import math

from comfy_api.latest import io

from ..training.ages import AgeEstimate, class_of
from ..training.biometrics.pick import pick_best
from ..training.errors import NoFaceFound
from .ui.checks import ages_in_turn
from .ui.images import to_batches, to_pictures
from .ui.sockets import CATEGORY, search_aliases


class PickBest(io.ComfyNode):
    """Picks the most similar candidate per age among those that look their age."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingPickBest",
            display_name="Pick Best Per Age",
            category=CATEGORY,
            **search_aliases("best of", "select best", "pick best"),
            description="Picks the best candidate per age: the most similar one that looks the right age. If none "
            "does, picks the one closest in age and notes it in the report.",
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "images",
                    tooltip="Candidates, as a batch or a list: all ages in order, repeated as often as you like.",
                ),
                io.String.Input(
                    "ages",
                    force_input=True,
                    tooltip="From Age Sequence Encode. The list repeats until all images have an age.",
                ),
                io.Float.Input(
                    "similarities",
                    force_input=True,
                    tooltip="From Identity Report or Score Identity, one per candidate.",
                ),
                io.Float.Input(
                    "estimated_years",
                    optional=True,
                    force_input=True,
                    tooltip="From Identity Report. If not connected, similarity alone decides.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images",
                    tooltip="The best image per age, in the order of the ages.",
                    is_output_list=True,
                ),
                io.Int.Output(
                    display_name="indices",
                    tooltip="Index of each picked image among the candidates, from 0.",
                    is_output_list=True,
                ),
                io.Float.Output(display_name="scores", tooltip="Similarity of each picked image.", is_output_list=True),
                io.String.Output(display_name="report", tooltip="Why each image was picked."),
            ],
        )

    @classmethod
    def execute(cls, images: list, ages: list, similarities: list, estimated_years=None) -> io.NodeOutput:
        """Processes all candidates in one call."""
        pictures = to_pictures(images)
        estimates = None
        if estimated_years and not all(map(math.isnan, estimated_years)):
            estimates = [
                None if math.isnan(years) else AgeEstimate(years, class_of(years)) for years in estimated_years
            ]
        picks = pick_best(ages_in_turn(ages, len(pictures)), similarities, estimates)
        best = {pick.index: pick.similarity for pick in picks if pick.index is not None}
        remarks = "\n".join(pick.remark for pick in picks)
        if not best:
            raise NoFaceFound(f"No candidate has a face, so there is nothing to pick:\n{remarks}")
        return io.NodeOutput(
            to_batches([pictures[index] for index in best]),
            list(best),
            list(best.values()),
            remarks,
        )

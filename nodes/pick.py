"""Pick Best Per Age."""

import math

from comfy_api.latest import io

from ..training.ages import AgeEstimate, class_of
from ..training.biometrics.pick import pick_best
from ..training.errors import UserError
from .ui.checks import ages_in_turn
from .ui.images import to_batches, to_pictures
from .ui.sockets import CATEGORY, search_aliases


class PickBest(io.ComfyNode):
    """Of several candidates for each age, the likest whose age is right."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingPickBest",
            display_name="Pick Best Per Age",
            category=CATEGORY,
            **search_aliases("best of", "select best", "pick best"),
            description="Takes for each age the most similar candidate whose age is right. Where none is, the one "
            "nearest in age, and the report says so.",
            is_input_list=True,
            inputs=[
                io.Image.Input(
                    "images", tooltip="Candidates, as a batch or a list: all ages in turn, as often as you like."
                ),
                io.String.Input(
                    "ages", force_input=True, tooltip="From Age Sequence Encode; they begin anew when done."
                ),
                io.Float.Input(
                    "similarities", force_input=True, tooltip="From Identity Report or Score Identity, one a candidate."
                ),
                io.Float.Input(
                    "estimated_years",
                    optional=True,
                    force_input=True,
                    tooltip="From Identity Report. Without it similarity alone decides.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    display_name="images",
                    tooltip="The best of each age, in the order of the ages.",
                    is_output_list=True,
                ),
                io.Int.Output(
                    display_name="indices", tooltip="Their places among the candidates.", is_output_list=True
                ),
                io.Float.Output(display_name="scores", tooltip="Their similarities.", is_output_list=True),
                io.String.Output(display_name="report", tooltip="Why each was taken."),
            ],
        )

    @classmethod
    def execute(cls, images: list, ages: list, similarities: list, estimated_years=None) -> io.NodeOutput:
        """All candidates at once."""
        pictures = to_pictures(images)
        estimates = None
        if estimated_years and not all(map(math.isnan, estimated_years)):
            estimates = [
                None if math.isnan(years) else AgeEstimate(years, class_of(years)) for years in estimated_years
            ]
        picks = pick_best(ages_in_turn(ages, len(pictures)), similarities, estimates)
        taken = {pick.index: pick.similarity for pick in picks if pick.index is not None}
        remarks = "\n".join(pick.remark for pick in picks)
        if not taken:
            raise UserError(f"There is nothing to pick: {remarks}.")
        return io.NodeOutput(
            to_batches([pictures[index] for index in taken]),
            list(taken),
            list(taken.values()),
            remarks,
        )

"""Where the shipped graphs are drawn: a function for each puts its nodes on a canvas and says how they lie."""

from collections.abc import Callable

from tools.canvas import Canvas, Column, Row
from tools.workflows import draw, score, train

OLDEST, KLEIN = "0.3.64", "0.33.0"  # the ComfyUI that we need; that draws with Flux.2 Klein and Z-Image
DRAWN: dict[str, Callable[[Canvas], Row | Column]] = {
    "train_subject": train.subject,
    "try_it_here": train.try_it_here,
    "train_klein": train.klein,
    "train_z_image": train.z_image,
    "aging_sequence": draw.aging_sequence,
    "aging_video": draw.aging_video,
    "age_existing_photo": draw.age_existing_photo,
    "age_by_edit": score.age_by_edit,
    "compare_roads": score.compare_roads,
    "score_identity": score.score_identity,
    "make_regularization_set": draw.make_regularization_set,
}
NEEDS = {"train_klein": KLEIN, "train_z_image": KLEIN, "age_by_edit": KLEIN, "compare_roads": KLEIN}

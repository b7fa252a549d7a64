"""Drawn World."""

import comfy.sd
from comfy_api.latest import io

from ..training.world.model import base_checkpoint
from ..training.world.recipe import regularization_set
from ..training.world.render.photos import SUBJECT, photos
from .ui.images import to_batch
from .ui.results import kept_on_node, thumbnails
from .ui.sockets import CATEGORY, AgeSet, keeps_results, search_aliases

PHOTOS, YEARS = 8, 28


class DrawnWorld(io.ComfyNode):
    """Everything that a training needs, drawn by program: nothing to download, nothing to choose."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingDrawnWorld",
            display_name="Drawn World",
            category=CATEGORY,
            **keeps_results(),
            **search_aliases("try it", "demo", "example data"),
            description="A small model of faces that were drawn by program, photos of one such person and an age set, "
            "to try everything on without a download. It draws at 64 px.",
            inputs=[
                io.Int.Input(
                    "person", default=SUBJECT, min=0, max=9999, tooltip="Another number is another person, of 28 years."
                )
            ],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="A small Stable Diffusion 1.x that draws faces at 64 px."
                ),
                io.Clip.Output(display_name="clip", tooltip="Knows the words of our prompts and no others."),
                io.Vae.Output(display_name="vae", tooltip="The VAE of that model."),
                io.Image.Output(display_name="photos", tooltip="Eight photos of one person at 28 years."),
                AgeSet.Output(display_name="ages", tooltip="Faces of other people, 20 of each of the six ages."),
            ],
        )

    @classmethod
    def execute(cls, person: int) -> io.NodeOutput:
        """Opens the shipped model from memory, and draws."""
        model, clip, vae, *_ = comfy.sd.load_state_dict_guess_config(base_checkpoint())
        pictures = photos(person, YEARS, PHOTOS)
        shown = kept_on_node(f"{PHOTOS} photos of one person at {YEARS} years", thumbnails(pictures))
        return io.NodeOutput(model, clip, vae, to_batch(pictures), regularization_set(), ui=shown)

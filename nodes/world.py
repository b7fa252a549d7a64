"""Synthetic World."""

import comfy.sd
from comfy_api.latest import io

from ..training.world.model import base_checkpoint
from ..training.world.recipe import regularization_set
from ..training.world.render.photos import SUBJECT, photos
from .ui.images import to_batch
from .ui.results import kept_on_node, thumbnails
from .ui.sockets import CATEGORY, AgeSet, keeps_results, search_aliases

PHOTOS, YEARS = 8, 28


class SyntheticWorld(io.ComfyNode):
    """Provides a small model, photos and an age set, so that training works without any download."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="IDAgingDrawnWorld",
            display_name="Synthetic World",
            category=CATEGORY,
            **keeps_results(),
            **search_aliases("try it", "demo", "example data"),
            description="Try everything without a download: a small model of computer-generated faces, photos of one "
            "such person and an age set. Images are 64 px in size.",
            inputs=[
                io.Int.Input(
                    "person", default=SUBJECT, min=0, max=9999, tooltip="Each number is another person, aged 28."
                )
            ],
            outputs=[
                io.Model.Output(
                    display_name="model", tooltip="A small Stable Diffusion 1.x that generates faces at 64 px."
                ),
                io.Clip.Output(
                    display_name="clip",
                    tooltip="Its text encoder. It only understands the words in the default prompts.",
                ),
                io.Vae.Output(display_name="vae", tooltip="Its VAE."),
                io.Image.Output(display_name="photos", tooltip="Eight photos of one person, aged 28."),
                AgeSet.Output(display_name="ages", tooltip="Faces of other people, 20 for each of the six ages."),
            ],
        )

    @classmethod
    def execute(cls, person: int) -> io.NodeOutput:
        """Loads the built-in model and renders the photos and the age set."""
        model, clip, vae, *_ = comfy.sd.load_state_dict_guess_config(base_checkpoint())
        pictures = photos(person, YEARS, PHOTOS)
        node_ui = kept_on_node(f"{PHOTOS} photos of one person, aged {YEARS}", thumbnails(pictures))
        return io.NodeOutput(model, clip, vae, to_batch(pictures), regularization_set(), ui=node_ui)

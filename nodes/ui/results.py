"""Text and images that stay on a node after it ran."""

from collections.abc import Sequence

from comfy_api.latest import ui
from PIL import Image, ImageOps

from ...training.pictures.sheet import contact_sheet
from .images import to_batch

THUMBNAIL, THUMBNAILS = 160, 6  # side in px; number per row


def kept_on_node(text: str, picture: Image.Image) -> dict:
    """The ui output that keeps text and an image on a node, also if its result comes from the cache."""
    return ui.PreviewImage(to_batch([picture])).as_dict() | ui.PreviewText(text).as_dict()


def thumbnails(pictures: Sequence[Image.Image]) -> Image.Image:
    """Arranges thumbnails of all images in one image."""
    squares = [ImageOps.pad(picture, (THUMBNAIL, THUMBNAIL)) for picture in pictures]
    return contact_sheet(squares, [""] * len(squares), THUMBNAILS)

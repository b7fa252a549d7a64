"""What a node shows when it has run."""

from collections.abc import Sequence

from comfy_api.latest import ui
from PIL import Image, ImageOps

from ...training.pictures.sheet import contact_sheet
from .images import to_batch

THUMBNAIL, THUMBNAILS = 160, 6  # px; in a row


def kept_on_node(text: str, picture: Image.Image) -> dict:
    """What stays on a node after it ran, and is there again when it is found in the cache."""
    return ui.PreviewImage(to_batch([picture])).as_dict() | ui.PreviewText(text).as_dict()


def thumbnails(pictures: Sequence[Image.Image]) -> Image.Image:
    """All of them in one picture."""
    squares = [ImageOps.pad(picture, (THUMBNAIL, THUMBNAIL)) for picture in pictures]
    return contact_sheet(squares, [""] * len(squares), THUMBNAILS)

"""A subject's photos, as a graph hands them over."""

from torch import Tensor

from ...training.data.subject_photos import with_ages
from ...training.errors import UserError
from ...training.pictures.photos import Photo
from .images import to_masks, to_pictures


def photos_of(
    batches: list[Tensor],
    ages: list[str] | None = None,
    captions: list[str] | None = None,
    masks: list[Tensor] | None = None,
) -> list[Photo]:
    """A subject's photos out of IMAGE batches, with their ages, as a list or in one text, their captions and masks.

    Raises UserError for another number of ages, captions or masks than of photos, and for what is no age.
    """
    pictures = to_pictures(batches)
    texts = captions or [""] * len(pictures)
    shapes = to_masks(masks) if masks else [None] * len(pictures)
    for what, found in (("captions", texts), ("masks", shapes)):
        if len(found) != len(pictures):
            raise UserError(
                f"There are {len(pictures)} photos but {len(found)} {what}; wire both from one Load Photos."
            )
    photos = [
        Photo(f"photo {number}", picture, caption=text or None, mask=mask)
        for number, (picture, text, mask) in enumerate(zip(pictures, texts, shapes, strict=True), 1)
    ]
    return with_ages(photos, ", ".join(ages)) if ages else photos

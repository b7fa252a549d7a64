"""A subject's photos from the inputs of a node."""

from torch import Tensor

from ...training.data.subject_photos import with_ages
from ...training.errors import InvalidData
from ...training.pictures.photos import Photo
from .images import to_masks, to_pictures


def photos_of(
    batches: list[Tensor],
    ages: list[str] | None = None,
    captions: list[str] | None = None,
    masks: list[Tensor] | None = None,
) -> list[Photo]:
    """Returns a subject's photos from IMAGE batches, with optional ages (a list or one text), captions and masks.

    Raises UserError if the number of ages, captions or masks differs from that of the photos, or an age is invalid.
    """
    pictures = to_pictures(batches)
    texts = captions or [""] * len(pictures)
    mask_images = to_masks(masks) if masks else [None] * len(pictures)
    for what, values in (("captions", texts), ("masks", mask_images)):
        if len(values) != len(pictures):
            raise InvalidData(
                f"Got {len(pictures)} photos but {len(values)} {what}. Connect both from the same Load Photos."
            )
    photos = [
        Photo(f"photo {number}", picture, caption=text or None, mask=mask)
        for number, (picture, text, mask) in enumerate(zip(pictures, texts, mask_images, strict=True), 1)
    ]
    return with_ages(photos, ", ".join(ages)) if ages else photos

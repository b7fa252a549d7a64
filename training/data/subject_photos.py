"""Reads the subject's photos from a folder, with their ages, captions and masks."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from ..ages import UNKNOWN_AGE, parse_photo_ages
from ..errors import InvalidData
from ..pictures.masks import mask_beside
from ..pictures.photos import Photo, abridged, image_files, read_folder
from .ages_in_names import BY_NAME, ages_said, agreed_age, caption_of, is_age
from .numbers import numbers_in_names


def other_folders(folder: Path) -> list[str]:
    """Returns the sub-folders of ``folder`` that contain photos and are not named by age.

    They may show other people.
    """
    parents = (path.relative_to(folder).parts[:-1] for path in image_files(folder))
    return sorted({str(Path(*parts)) for parts in parents if not all(map(is_age, parts))})


def read_photos(folder: Path, what: str, without: Collection[str] = ()) -> list[Photo]:
    """Returns the subject's photos in ``folder``, with the age that each is labelled with, its caption and its mask.

    Skips the sub-folders ``without``. Raises UserError, which calls the photos ``what``, if there are none, or if the
    ages in a photo's file name, folder name and caption contradict each other.
    """
    photos, root = read_folder(folder, what), folder if folder.is_dir() else folder.parent
    photos = [photo for photo in photos if str(Path(photo.name).parent) not in without]
    if not photos:
        raise InvalidData(
            f"All {what} in {folder} are in its sub-folders ({', '.join(without)}). Choose one of these folders, or "
            "switch sub_folders on if they all show the same person."
        )
    paths = [photo.source for photo in photos if isinstance(photo.source, Path)]
    labelled = []
    for photo, path, number in zip(photos, paths, numbers_in_names(paths), strict=True):
        age = agreed_age(photo.name, ages_said(path, root, years=True, number=number.age))
        caption = caption_of(path) or None
        labelled.append(replace(photo, age=age, caption=caption, mask=mask_beside(path), age_note=number.note))
    return labelled


def with_ages(photos: Sequence[Photo], text: str) -> list[Photo]:
    """Returns ``photos`` with their ages replaced by the list in ``text``; unchanged if ``text`` is BY_NAME.

    Raises UserError if the number of ages differs from that of photos, or an entry is not an age.
    """
    if text.strip() == BY_NAME:
        return list(photos)
    ages = parse_photo_ages(text, len(photos))
    return [replace(photo, age=age, age_note="") for photo, age in zip(photos, ages, strict=True)]


def listed(photos: Sequence[Photo]) -> str:
    """Returns the ages of ``photos`` in order, as text that with_ages reads."""
    return ", ".join(UNKNOWN_AGE if photo.age is None else str(photo.age) for photo in photos)


def ages_remarks(photos: Sequence[Photo]) -> list[str]:
    """Returns sentences that list the photos' ages and where they are from; no list if no age is known."""
    unknown = sum(photo.age is None for photo in photos)
    remarks = notes_remarks(photos)
    if unknown < len(photos):
        remarks.insert(0, f"Ages of the photos, in order: {listed(photos)}.")
        if unknown:
            remarks.append(f"{unknown} of {len(photos)} photos have no known age; training uses no age for them.")
    return remarks


def notes_remarks(photos: Sequence[Photo]) -> list[str]:
    """Returns a sentence per note on the photos' ages, with the number and names of the photos that have it."""
    names: dict[str, list[str]] = {}
    for photo in photos:
        if photo.age_note:
            names.setdefault(photo.age_note, []).append(photo.name)
    return [f"{len(those)} of {len(photos)} images: {note} ({abridged(those)})." for note, those in names.items()]


def captions_remarks(photos: Sequence[Photo], used: bool) -> list[str]:
    """Returns a sentence on how the photos' captions are used; none if no photo has a caption.

    ``used``: the captions become prompts.
    """
    count = sum(bool(photo.caption) for photo in photos)
    usage = "used as their prompts" if used else "not used as prompts, only to read ages"
    return [f"{count} of {len(photos)} photos have a .txt caption, {usage}."] if count else []

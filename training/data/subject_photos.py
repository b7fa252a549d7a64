"""What is said of a picture in its name, its folder and the text beside it: an age, and a caption."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from ..ages import (
    UNKNOWN_AGE,
    leading_years,
    parse_photo_ages,
)
from ..errors import UserError
from ..pictures.masks import mask_beside
from ..pictures.photos import Photo, image_files, read_folder
from .ages_in_names import BY_NAME, _agreed, _is_age, ages_said, caption_of


def other_folders(folder: Path) -> list[str]:
    """The sub-folders of ``folder`` that no age names and that hold photos: perhaps of other people."""
    inside = (path.relative_to(folder).parts[:-1] for path in image_files(folder))
    return sorted({str(Path(*parts)) for parts in inside if not all(map(_is_age, parts))})


def read_photos(folder: Path, what: str, without: Collection[str] = ()) -> list[Photo]:
    """The subject's photos in ``folder``, each with the age that is said of it, its caption and its mask.

    Numbers that count the photos are no ages: 1_anna.jpg, 2_anna.jpg, 3_anna.jpg. Raises UserError where the name of a
    photo, its folder and its caption contradict each other; ``what`` says what was wanted. Photos in the sub-folders
    ``without`` are left out, and it is an error that no photo is left.
    """
    photos, root = read_folder(folder, what), folder if folder.is_dir() else folder.parent
    photos = [photo for photo in photos if str(Path(photo.name).parent) not in without]
    if not photos:
        raise UserError(
            f"All {what} in {folder} lie in its sub-folders ({', '.join(without)}). Choose one of these, or switch "
            "sub_folders on to take them all for one person."
        )
    paths = [photo.source for photo in photos if isinstance(photo.source, Path)]
    numbers = [leading_years(path.stem) for path in paths if not re.match(r"\d+[ _-]years?\b", path.stem)]
    counting = len(photos) > 2 and sorted(n for n in numbers if n is not None) in (
        [*range(len(photos))],
        [*range(1, len(photos) + 1)],
    )
    known = []
    for photo, path in zip(photos, paths, strict=True):
        said = ages_said(path, root, years=True)
        if counting:
            del said["its name"]
        age, caption = _agreed(photo.name, said), caption_of(path) or None
        known.append(replace(photo, age=age, caption=caption, mask=mask_beside(path)))
    return known


def with_ages(photos: Sequence[Photo], text: str) -> list[Photo]:
    """``photos`` with the ages that ``text`` lists, which overrule what else is said of them; BY_NAME lists none.

    Raises UserError for another number of ages than of photos, and for what is no age.
    """
    if text.strip() == BY_NAME:
        return list(photos)
    ages = parse_photo_ages(text, len(photos))
    return [replace(photo, age=age) for photo, age in zip(photos, ages, strict=True)]


def listed(photos: Sequence[Photo]) -> str:
    """The ages of ``photos`` in their order, as with_ages reads them."""
    return ", ".join(UNKNOWN_AGE if photo.age is None else str(photo.age) for photo in photos)


def ages_remarks(photos: Sequence[Photo]) -> list[str]:
    """The ages of the photos in sentences; none where none is known."""
    unknown = sum(photo.age is None for photo in photos)
    if unknown == len(photos):
        return []
    remarks = [f"Ages of the photos, in order: {listed(photos)}."]
    if unknown:
        remarks.append(f"{unknown} of {len(photos)} photos have no known age and are trained without one.")
    return remarks


def captions_remarks(photos: Sequence[Photo], used: bool) -> list[str]:
    """What is made of the texts beside the photos, in a sentence; none where there are none."""
    count = sum(bool(photo.caption) for photo in photos)
    made = "are their prompts" if used else "are not their prompts, and say their age at most"
    return [f"{count} of {len(photos)} photos have a .txt beside them; these texts {made}."] if count else []

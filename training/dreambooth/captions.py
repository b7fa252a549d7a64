"""What is said of a picture in its name, its folder and the text beside it: an age, and a caption."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from ..ages import (
    UNKNOWN_AGE,
    age_class,
    age_words,
    as_class,
    display_name,
    fill_prompt,
    leading_age_class,
    leading_years,
    mentioned_age_classes,
    mentioned_years,
    parse_photo_ages,
    same_age,
    whole_years,
)
from ..config import TrainingConfig
from ..errors import UserError
from ..pictures.masks import mask_beside
from ..pictures.photos import Photo, image_files, read_folder

CAPTION_RULE = (
    "the start of the file name (child_0001.jpg), else the name of its folder, else a .txt file beside it that "
    "mentions one age class"
)
BY_NAME, ESTIMATED = "names", "auto"  # instead of ages, in a text of ages
AGES_HELP = (
    f"ages in the photos. '{BY_NAME}': as the start of the file name (34_beach.jpg, child_2.jpg), the folder or a .txt "
    f"beside it says; or one for each photo, in the order of their names: 8, 8, {UNKNOWN_AGE}, old"
)


def ages_said(path: Path, folder: Path, years: bool = False) -> dict[str, str | int]:
    """What a picture's name, folder and caption say of its age, in the order in which they count; see CAPTION_RULE.

    ``folder`` is that of the whole set, whose name says nothing. With ``years`` they may say years too: 34_beach.jpg,
    a folder 34, "a 34-year-old" in the caption.
    """
    caption = caption_of(path)
    mentioned: set[str | int] = {*mentioned_age_classes(caption), *(mentioned_years(caption) if years else ())}
    parent = path.parent.name if path.parent != folder else ""
    said: dict[str, str | int | None] = {
        "its name": leading_age_class(path.stem),
        "its folder": age_class(parent),
        "its caption": mentioned.pop() if len(mentioned) == 1 else None,
    }
    if years:
        said |= {
            place: found
            for place, found in (("its name", leading_years(path.stem)), ("its folder", whole_years(parent)))
            if found is not None
        }
    return {place: age for place, age in said.items() if age is not None}


def caption_of(path: Path) -> str:
    """The text of the .txt beside a picture, in one line; empty where there is none."""
    text = path.with_suffix(".txt")
    return " ".join(text.read_text(encoding="utf-8", errors="replace").split()) if text.is_file() else ""


def other_folders(folder: Path) -> list[str]:
    """The sub-folders of ``folder`` that no age names and that hold photos: perhaps of other people."""
    inside = (path.relative_to(folder).parts[:-1] for path in image_files(folder))
    return sorted({str(Path(*parts)) for parts in inside if not all(map(_is_age, parts))})


def _is_age(name: str) -> bool:
    return age_class(name) is not None or whole_years(name) is not None


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


def _agreed(name: str, said: dict[str, str | int]) -> str | int | None:
    for (one, age), (other, another) in combinations(said.items(), 2):
        if not same_age(age, another):
            raise UserError(
                f"{name}: {one} says {display_name(age)}, {other} says {display_name(another)}. Change one of them."
            )
    return next(iter(said.values()), None)


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


def instance_prompt(config: TrainingConfig, age: str | int | None = None, caption: str | None = None) -> str:
    """The prompt that a photo is trained with.

    Without an age the instance prompt; with one, "as" and the age come after it. A caption takes its place, with the
    token before its first class word; one that has neither comes behind.
    """
    named = {"token": config.token, "class_word": config.class_word}
    template, said = config.instance_prompt, ""
    if age is not None:
        said = age_words(age if config.photo_years else as_class(age))
        template = template if "{age}" in template else f"{template} as {{age}}"
    prompt = fill_prompt(template, age=said, **named)
    if not caption:
        return prompt
    if not re.search(rf"\b{re.escape(config.token)}\b", caption):
        word = re.compile(rf"\b{re.escape(config.class_word)}\b", re.IGNORECASE)
        if not word.search(caption):
            return f"{prompt}, {caption}"
        caption = word.sub(lambda found: f"{config.token} {found[0]}", caption, count=1)
    aged = not said or mentioned_age_classes(caption) or mentioned_years(caption)
    return caption if aged else f"{caption}, as {said}"

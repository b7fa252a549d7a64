"""Reads ages from file names, folder names and captions."""

import codecs
import unicodedata
from itertools import combinations
from pathlib import Path

from ..ages import (
    UNKNOWN_AGE,
    age_class,
    display_name,
    leading_age_class,
    mentioned_age_classes,
    mentioned_years,
    same_age,
    whole_years,
)
from ..errors import InvalidData

CAPTION_RULE = (
    "the start of the file name (child_0001.jpg), else the name of its folder, else a .txt file next to it that "
    "mentions one age class"
)


BY_NAME, ESTIMATED = "names", "auto"  # values of the ages option other than a list of ages

BYTE_ORDER_MARKS = {  # UTF-16's mark begins UTF-32's, so UTF-32 comes first
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
    codecs.BOM_UTF8: "utf-8-sig",
}

AGES_HELP = (
    f"ages in the photos: '{BY_NAME}' reads them from the start of the file name (34_beach.jpg, child_2.jpg) or from "
    "names as in AgeDB, FG-NET, MORPH, UTKFace or MyTimeMachine, from the folder name or a .txt next to the photo; or "
    f"give one age per photo, sorted by file name: 8, 8, {UNKNOWN_AGE}, old"
)


def ages_said(path: Path, folder: Path, years: bool = False, number: str | int | None = None) -> dict[str, str | int]:
    """Returns the ages in an image's file name, folder name and caption, by source; the first has priority.

    See CAPTION_RULE. ``folder`` is the root of the data set, whose own name is ignored. With ``years``, ages in years
    count too: a folder 34, "a 34-year-old" in the caption. ``number`` is the age that numbers.numbers_in_names reads in
    the file name.
    """
    caption = caption_of(path)
    mentioned: set[str | int] = {*mentioned_age_classes(caption), *(mentioned_years(caption) if years else ())}
    parent = path.parent.name if path.parent != folder else ""
    parent_years = whole_years(parent) if years else None
    ages: dict[str, str | int | None] = {
        "its name": leading_age_class(path.stem) if number is None else number,
        "its folder": age_class(parent) if parent_years is None else parent_years,
        "its caption": mentioned.pop() if len(mentioned) == 1 else None,
    }
    return {source: age for source, age in ages.items() if age is not None}


def caption_of(path: Path) -> str:
    """Returns the text of the .txt next to an image, as one line; "" without such a file.

    Raises UserError if the file is not text in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.
    """
    file = path.with_suffix(".txt")
    if not file.is_file():
        return ""
    content = file.read_bytes()
    encoding = next((encoding for mark, encoding in BYTE_ORDER_MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        caption = " ".join(content.decode(encoding).split())
    except UnicodeDecodeError as error:
        raise InvalidData(
            f"The caption {file} is not text in {encoding.upper()} (byte {error.start}). Save it as UTF-8 or delete it."
        ) from error
    if any(unicodedata.category(character) == "Cc" for character in caption):
        raise InvalidData(f"The caption {file} contains control characters. Save it as text in UTF-8 or delete it.")
    return caption


def is_age(name: str) -> bool:
    """Returns whether the whole ``name`` is an age class or an age in years."""
    return age_class(name) is not None or whole_years(name) is not None


def agreed_age(name: str, ages: dict[str, str | int]) -> str | int | None:
    """Returns the first of ``ages``, which come from ages_said; None if there are none.

    Raises UserError, which names the image ``name``, if two of them disagree.
    """
    for (source, age), (other_source, other_age) in combinations(ages.items(), 2):
        if not same_age(age, other_age):
            raise InvalidData(
                f"{name}: {source} says {display_name(age)}, but {other_source} says {display_name(other_age)}. Change "
                "one of them."
            )
    return next(iter(ages.values()), None)

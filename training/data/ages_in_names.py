"""Reads ages from file names, folder names and captions."""

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
    """Returns the text of the .txt next to an image, as one line; "" without such a file."""
    text = path.with_suffix(".txt")
    return " ".join(text.read_text(encoding="utf-8", errors="replace").split()) if text.is_file() else ""


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

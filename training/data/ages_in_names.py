"""TODO."""

from itertools import combinations
from pathlib import Path

from ..ages import (
    UNKNOWN_AGE,
    age_class,
    display_name,
    leading_age_class,
    leading_years,
    mentioned_age_classes,
    mentioned_years,
    same_age,
    whole_years,
)
from ..errors import UserError

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


def _is_age(name: str) -> bool:
    return age_class(name) is not None or whole_years(name) is not None


def _agreed(name: str, said: dict[str, str | int]) -> str | int | None:
    for (one, age), (other, another) in combinations(said.items(), 2):
        if not same_age(age, another):
            raise UserError(
                f"{name}: {one} says {display_name(age)}, {other} says {display_name(another)}. Change one of them."
            )
    return next(iter(said.values()), None)

"""Gives photos the age at the date on which they were taken."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

from ..ages import MAX_AGE, display_name, years_off
from ..errors import InvalidSetting
from ..pictures.photos import Photo
from ..pictures.reading import taken_on

BIRTH_DATE_HELP = (
    "the subject's date of birth, YYYY-MM-DD: photos of unknown age get the age at the date in their EXIF data, which "
    "for a scan may be the date of the scan"
)
BY_DATE = "age from the EXIF date and the birth date"
APART = 1  # years; a stated age may be rounded


def parse_birth_date(text: str) -> date | None:
    """Parses a date of birth, YYYY-MM-DD; None for an empty text. Raises UserError for anything else."""
    if not text.strip():
        return None
    try:
        return datetime.strptime(text.strip(), "%Y-%m-%d").date()
    except ValueError as error:
        raise InvalidSetting(f"'{text}' is not a date of birth. Write it as YYYY-MM-DD, such as 1984-05-31.") from error


def with_birth_date(photos: Sequence[Photo], text: str) -> list[Photo]:
    """Returns ``photos``, those of unknown age with the age at their EXIF date if they have one.

    A stated age stays, with a note if the date contradicts it. ``text`` is the date of birth, or "" to change nothing.
    Raises UserError if it is no date.
    """
    birth = parse_birth_date(text)
    return [_dated(photo, birth) for photo in photos] if birth else list(photos)


def _dated(photo: Photo, birth: date) -> Photo:
    taken = taken_on(photo.source) if isinstance(photo.source, Path) else None
    if taken is None:
        return photo
    years = taken.year - birth.year - ((taken.month, taken.day) < (birth.month, birth.day))
    if not 0 <= years <= MAX_AGE:
        return replace(photo, age_note=f"the EXIF date gives an age of {years} years, so it is not used")
    if photo.age is None:
        return replace(photo, age=years, age_note=BY_DATE)
    if years_off(years, photo.age) > APART:
        note = f"the EXIF date gives {display_name(years)}, but {display_name(photo.age)} is stated and used"
        return replace(photo, age_note=note)
    return photo

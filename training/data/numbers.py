"""Reads ages from the numbers in the file names of a folder, only where all names agree on what the numbers mean.

The numbers are ages if the names have the layout of a published data set (LAYOUTS). A number that a name starts with
is an age too ("34_beach"), unless it may count the photos or be a date or a measure.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

from ..ages import MAX_AGE, class_of, leading_years

_AGE = r"(?P<age>1[0-2]\d|\d{1,2})"
LAYOUTS = {
    # Number of the photo, name, age, gender: 17_MariaCallas_40_f (Moschoglou et al. 2017).
    "AgeDB": rf"\d+_[^\W\d_][^_]*_{_AGE}_[mf]",
    # Number of the person, A, age, and a letter if there are several photos: 001A02, 010A07b (Panis et al. 2016).
    "FG-NET": r"\d{3}A(?P<age>\d\d)[a-z]?",
    # Number of the person, of the photo, gender, age: 009055_1M54 (Ricanek and Tesafaye 2006).
    "MORPH": r"\d{4,7}_\d{1,2}[MF](?P<age>\d\d)",
    # Age, gender, race, date: 40_1_0_20170109142408075 (Zhang et al. 2017). A few names lack gender or race.
    "UTKFace": rf"{_AGE}_[01]?(_[0-4])?_20\d{{12,16}}(\.jpg)?(\.chip)?",
    # Age, any number: 30_11 (Qi et al. 2025).
    "MyTimeMachine": r"(?P<age>100|[1-9]?\d)_(0|[1-9]\d{0,2})",
}

# Words that make the number before them a day or a measure, in lower case.
_MONTHS = re.compile(
    "jan|january|januar|janvier|enero|feb|february|februar|février|fevrier|febrero|mar|march|märz|maerz|mars|"
    "marzo|apr|april|avril|abril|may|mai|mayo|jun|june|juni|juin|junio|jul|july|juli|juillet|julio|aug|august|"
    "août|aout|agosto|sep|sept|september|septembre|septiembre|oct|okt|october|oktober|octobre|octubre|nov|"
    "november|novembre|noviembre|dec|dez|december|dezember|décembre|decembre|diciembre"
)
_MEASURES = re.compile(
    "mm|cm|km|px|mp|kb|mb|gb|kg|lb|lbs|ft|dpi|fps|iso|khz|mhz|am|pm|sec|secs|second|seconds|min|mins|minute|"
    "minutes|hour|hours|hrs|day|days|week|weeks|month|months|percent|photo|photos|pic|pics|picture|pictures|"
    "image|images|copy|copies|people"
)
_DAYS = 31
_OF_MANY = re.compile(r"(?:of|x)[ _-]?\d")  # 1 of 12, 4 x 6

UNCLEAR = (
    "the number in the name may be a count, a date or a measure, so it is not read as an age; if it is one, write "
    "8-year-old"
)


class NumberInName(NamedTuple):
    """The age that the numbers in a file name give, or None, and a note for the report."""

    age: str | int | None = None
    note: str = ""


def numbers_in_names(paths: Sequence[Path]) -> list[NumberInName]:
    """Returns the ages that the numbers in the names of the subject's photos give, per photo."""
    published = published_ages(paths)
    return published if any(number.note for number in published) else _leading_numbers(paths)


def published_ages(paths: Sequence[Path]) -> list[NumberInName]:
    """Returns the ages in names that all have the same one of LAYOUTS, per photo; no ages otherwise."""
    stems = [path.stem for path in paths]
    for layout, pattern in LAYOUTS.items():
        matches = [match for stem in stems if (match := re.fullmatch(pattern, stem, re.IGNORECASE))]
        if len(matches) < len(stems):
            continue
        if layout == "MyTimeMachine" and _may_count_pairs(stems):
            return [NumberInName(note=UNCLEAR)] * len(stems)
        return [NumberInName(_age(int(match["age"])), f"age as in {layout}") for match in matches]
    return [NumberInName()] * len(stems)


def _age(years: int) -> str | int:
    return years if years <= MAX_AGE else class_of(years)


def _leading_numbers(paths: Sequence[Path]) -> list[NumberInName]:
    """Returns the ages that the names start with. "8 years" is always an age, "8_school" unless numbers count."""
    years = [leading_years(path.stem) for path in paths]
    numbered = {
        path: number
        for path, number in zip(paths, years, strict=True)
        if number is not None and not re.match(r"\d+[ _-]years?(?![a-z])", path.stem)
    }
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for path in numbered:
        by_folder[path.parent].append(path)
    unclear = {path for path in numbered if _is_date_or_measure(path.stem)}
    for group in (list(numbered), *by_folder.values()):
        if _may_count([path.stem for path in group]):
            unclear.update(group)
    return [
        NumberInName(note=UNCLEAR) if path in unclear else NumberInName(number)
        for path, number in zip(paths, years, strict=True)
    ]


def _is_date_or_measure(stem: str) -> bool:
    number, rest = _split(stem)
    word = re.match(r"[^\W\d_]+", rest)
    assert word  # as leading_years requires
    is_date = 1 <= number <= _DAYS and _MONTHS.fullmatch(word[0])
    return bool(is_date or _MEASURES.fullmatch(word[0]) or _OF_MANY.match(rest))


def _may_count(stems: Collection[str]) -> bool:
    """Whether the numbers that the names start with may count the photos.

    They may if they are all different and either the rest of all names is the same (3_anna, 7_anna), or they are dense
    (3_beach, 4_garden, 6_party). They may too if the numbers before one rest are dense (1_anna, 2_anna, 71_beach).
    """
    by_rest: dict[str, set[int]] = defaultdict(set)
    for stem in set(stems):
        number, rest = _split(stem)
        by_rest[re.sub(r"\d+", "#", rest)].add(number)
    numbers = [_split(stem)[0] for stem in set(stems)]
    different = len(set(numbers)) == len(numbers) > 1
    return (different and (len(by_rest) == 1 or _dense(set(numbers)))) or any(map(_dense, by_rest.values()))


def _may_count_pairs(stems: Sequence[str]) -> bool:
    """Whether names of two numbers, such as 30_11, may be dates, times, or counts of chapters and photos."""
    pairs = {(int(first), int(second)) for first, second in (stem.split("_") for stem in stems)}
    firsts = {first for first, _ in pairs}
    if all(first <= _DAYS and second < 60 for first, second in pairs):
        return True
    restart = len({second for _, second in pairs}) < len(pairs)
    return _dense(firsts) and (min(firsts) <= 1 or restart or len(firsts) == len(pairs))


def _dense(numbers: set[int]) -> bool:
    """Whether less than half as many numbers are missing between the smallest and the largest as there are."""
    missing = max(numbers) - min(numbers) + 1 - len(numbers)
    return len(numbers) > 1 and missing < len(numbers) / 2


def _split(stem: str) -> tuple[int, str]:
    """Returns the number that ``stem`` starts with and the rest in lower case."""
    match = re.match(r"(\d+)[ _-]*(.*)", stem, re.DOTALL)
    assert match
    return int(match[1]), match[2].lower()

"""The six age classes, the ways people spell them, integer ages, and prompts."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import Formatter

from .errors import UserError

AGE_CLASSES = ("child", "teenager", "youngadults", "middleaged", "elderly", "old")

DISPLAY_NAMES = {
    "child": "child",
    "teenager": "teenager",
    "youngadults": "young adult",
    "middleaged": "middle-aged",
    "elderly": "elderly",
    "old": "old",
}

# First and last years of each class; ours, since the six names have no fixed years in the literature.
CLASS_YEARS = {
    "child": (2, 12),
    "teenager": (13, 19),
    "youngadults": (20, 34),
    "middleaged": (35, 54),
    "elderly": (55, 74),
    "old": (75, 95),
}

# Keys are spellings with case, spaces and punctuation removed.
_SPELLINGS = {name: name for name in AGE_CLASSES} | {
    "children": "child",
    "teen": "teenager",
    "teens": "teenager",
    "teenagers": "teenager",
    "youngadult": "youngadults",
    "middleage": "middleaged",
}

MAX_AGE = 100
_YEARS = r"100|[1-9]?\d"  # MAX_AGE at most, without leading zeros
UNKNOWN_AGE = "?"
TOLERANCE = 10  # years by which a face may miss an age that was asked for in years

# Banerjee et al., IJCB 2023, section 3.
INSTANCE_PROMPT = "photo of a {token} {class_word}"
REGULARIZATION_PROMPT = "photo of a {age}"
SAMPLING_PROMPT = "photo of a {token} {class_word} as {age}"


def age_class(text: str) -> str | None:
    """The age class that ``text`` spells as a whole ("Young Adult", "middle-aged"), or None."""
    return _SPELLINGS.get(re.sub(r"[^a-z]", "", text.lower())) if not re.search(r"\d", text) else None


def class_of(years: float) -> str:
    """The age class of someone of ``years``; the nearest for babies and centenarians."""
    return next((name for name, (_, last) in CLASS_YEARS.items() if years < last + 1), AGE_CLASSES[-1])


def as_class(age: str | int) -> str:
    """The age class of ``age``, be it years or a class already."""
    return class_of(age) if isinstance(age, int) else age


def class_middle(name: str) -> float:
    """The middle of an age class, in years."""
    first, last = CLASS_YEARS[name]
    return (first + last + 1) / 2


def middle_years(age: str | int) -> float:
    """``age`` in years, be it years already or a class."""
    return age if isinstance(age, int) else class_middle(age)


def leading_age_class(text: str) -> str | None:
    """The age class that the first words of ``text`` spell ("middle-aged_0012" -> middleaged), or None."""
    words = re.findall(r"[a-zA-Z]+", re.split(r"\d", text, maxsplit=1)[0])
    matches = (age_class(" ".join(words[:count])) for count in range(len(words), 0, -1))
    return next((match for match in matches if match), None)


def leading_years(text: str) -> int | None:
    """The years that begin ``text`` before a word ("34_beach", "8-year-old"), or None; 01 and 20190704 are no ages."""
    found = re.match(rf"({_YEARS})[ _-]+(?=[^\W\d_])", text)
    return int(found[1]) if found else None


def mentioned_age_classes(text: str) -> set[str]:
    """Every age class that ``text`` mentions as words ("photo of a middle-aged" -> {middleaged})."""
    words = re.findall(r"[a-z]+", re.sub(r"\d+[-_ ]years?[-_ ]old", " ", text.lower()))
    pairs = [" ".join(pair) for pair in pairwise(words)]
    return {found for phrase in words + pairs if (found := age_class(phrase))}


def whole_years(text: str) -> int | None:
    """The years that ``text`` is as a whole ("34", "8 years"), or None; 01 and 1987 are no ages."""
    found = re.fullmatch(rf"({_YEARS})([ _-]years?([ _-]old)?)?", text)
    return int(found[1]) if found else None


def mentioned_years(text: str) -> set[int]:
    """Every age in years that ``text`` mentions ("a 45-year-old on a beach" -> {45})."""
    return {int(years) for years in re.findall(rf"\b({_YEARS})[- ]years?[- ]old\b", text.lower())}


def parse_age(text: str | int) -> str | int:
    """One age as a user writes it: a class in any spelling, or whole years 0-100 ("45", "45-year-old").

    Raises UserError for anything else.
    """
    years = re.fullmatch(r"\s*(\d{1,9})([- ]years?([- ]old)?)?\s*", str(text))
    if years and int(years.group(1)) <= MAX_AGE:
        return int(years.group(1))
    if found := age_class(str(text)):
        return found
    raise UserError(
        f"'{text}' is not an age. Use one of: {', '.join(AGE_CLASSES)}; or whole years from 0 to {MAX_AGE}."
    )


def parse_photo_ages(text: str, count: int) -> list[str | int | None]:
    """One age for each of ``count`` photos, comma-separated; "?" where it is not known ("8, 8, ?, old").

    Raises UserError for another number of ages, and for what is no age.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != count:
        raise UserError(
            f"There are {count} photos but {len(parts)} ages ({text}). Give one for each, in their order, and "
            f"{UNKNOWN_AGE} where it is not known."
        )
    return [None if part == UNKNOWN_AGE else parse_age(part) for part in parts]


def parse_ages(text: str) -> list[str | int]:
    """A comma-separated list of ages, or "all" for the six classes in order.

    Raises UserError where it names none, or one twice, in whatever spelling.
    """
    if text.strip().lower() == "all":
        return list(AGE_CLASSES)
    ages = [parse_age(part) for part in text.split(",") if part.strip()]
    if not ages:
        raise UserError(f"'{text}' names no age. Use 'all', or one or more of: {', '.join(AGE_CLASSES)}; or years.")
    if (again := next((age for place, age in enumerate(ages) if age in ages[:place]), None)) is not None:
        raise UserError(f"'{text}' names {display_name(again)} more than once; each age is drawn once.")
    return ages


def age_of(name: str) -> str | int | None:
    """The age that a picture's file name begins with ("elderly.png", "45-year-old.png"); None for none or several."""
    stem = Path(name).stem
    years = re.match(r"\d+-year-old", stem)
    several = len(mentioned_age_classes(stem)) > 1
    return parse_age(years.group()) if years else None if several else leading_age_class(stem)


@dataclass(frozen=True)
class AgeEstimate:
    """How old a face looks, in years and as one of the six classes."""

    years: float
    age_class: str


def years_off(years: float, asked: str | int) -> float:
    """How far ``years`` are from the age asked for; from a class, how far outside it, and 0 within it."""
    if isinstance(asked, int):
        return abs(years - asked)
    first, last = CLASS_YEARS[asked]
    return max(0.0, first - years, years - (last + 1))


def age_is_right(estimate: AgeEstimate, asked: str | int) -> bool:
    """Whether the class is the one asked for, or the years are at most TOLERANCE from those asked for."""
    return years_off(estimate.years, asked) <= TOLERANCE if isinstance(asked, int) else estimate.age_class == asked


@dataclass(frozen=True)
class BetweenAges:
    """A place on the way from one age to the next: ``part`` in [0, 1) of the way from ``age`` to ``following``."""

    age: str | int
    following: str | int
    part: float

    def __str__(self) -> str:
        if isinstance(self.age, int) and isinstance(self.following, int):
            return display_name(round(self.age + self.part * (self.following - self.age)))
        return display_name(self.age if self.part < 0.5 else self.following)


def age_sequence(first: str | int, last: str | int, count: int) -> list[BetweenAges]:
    """``count`` even steps from ``first`` to ``last``, through the classes or the years that lie between; either way.

    Raises UserError where one is a class and the other a number of years.
    """
    if isinstance(first, int) != isinstance(last, int):
        raise UserError(
            f"An age sequence goes between two age classes or between two numbers of years, not from {first} to {last}."
        )
    ages: list[str | int] = [*range(MAX_AGE + 1)] if isinstance(first, int) else [*AGE_CLASSES]
    start, stop = ages.index(first), ages.index(last)
    sequence = []
    for step in range(count):
        place = start + (stop - start) * step / max(1, count - 1)
        below = int(place)
        sequence.append(BetweenAges(ages[below], ages[min(below + 1, len(ages) - 1)], place - below))
    return sequence


def age_words(age: str | int) -> str:
    """The words for ``age`` inside a prompt: the data set's own spelling of a class, or "45-year-old"."""
    return f"{age}-year-old" if isinstance(age, int) else age


def same_age(one: str | int, other: str | int) -> bool:
    """Whether two ages can be of one picture: the same years, or the same class where one of them is a class."""
    if isinstance(one, int) and isinstance(other, int):
        return one == other
    return as_class(one) == as_class(other)


def classes_apart(one: str | int, other: str | int) -> int:
    """How many age classes lie from one age to the other; 0 within one class."""
    return abs(AGE_CLASSES.index(as_class(one)) - AGE_CLASSES.index(as_class(other)))


def nearest_to(age: str | int | None, others: Sequence[str | int | None]) -> list[int]:
    """Places of those of ``others`` that are the fewest classes from ``age``; an unknown age is apart from none."""
    apart = [0 if age is None or other is None else classes_apart(age, other) for other in others]
    least = min(apart, default=0)
    return [place for place, classes in enumerate(apart) if classes == least]


def display_name(age: str | int) -> str:
    """The words for ``age`` as people are shown it."""
    return f"{age} years" if isinstance(age, int) else DISPLAY_NAMES[age]


def fill_prompt(template: str, *, token: str = "", class_word: str = "", age: str | int = "") -> str:
    """``template`` with {token}, {class_word} and {age} filled in.

    Raises UserError when the template has anything else in braces, formats included, or unbalanced braces.
    """
    known = {"token": token, "class_word": class_word, "age": age_words(age)}
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise UserError(f"The prompt template '{template}' has unbalanced braces ({error}).") from error
    for _, name, form, conversion in parts:
        if name is not None and (name not in known or form or conversion):
            asked = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise UserError(
                f"The prompt template '{template}' asks for {{{asked}}}; it may use {{token}}, {{class_word}} and "
                "{age}, by name alone."
            )
    return "".join(text + (known[name] if name is not None else "") for text, name, _, _ in parts)

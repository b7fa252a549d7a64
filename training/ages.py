"""The six age classes and their spellings, ages in years, and prompts that contain an age."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from string import Formatter

from .errors import InvalidSetting

AGE_CLASSES = ("child", "teenager", "youngadults", "middleaged", "elderly", "old")

DISPLAY_NAMES = {
    "child": "child",
    "teenager": "teenager",
    "youngadults": "young adult",
    "middleaged": "middle-aged",
    "elderly": "elderly",
    "old": "old",
}

# First and last year of each class. This is our own choice: the literature gives the six names no fixed years.
CLASS_YEARS = {
    "child": (2, 12),
    "teenager": (13, 19),
    "youngadults": (20, 34),
    "middleaged": (35, 54),
    "elderly": (55, 74),
    "old": (75, 95),
}

# Keys are lower-case spellings without spaces and punctuation.
_SPELLINGS = {name: name for name in AGE_CLASSES} | {
    "children": "child",
    "teen": "teenager",
    "teens": "teenager",
    "teenagers": "teenager",
    "youngadult": "youngadults",
    "middleage": "middleaged",
}

MAX_AGE = 100
_YEARS = r"100|[1-9]?\d"  # 0 to MAX_AGE, without leading zeros
UNKNOWN_AGE = "?"
TOLERANCE = 10  # years; the largest error that counts as right if the requested age is in years

# Banerjee et al., IJCB 2023, section 3.
INSTANCE_PROMPT = "photo of a {token} {class_word}"
REGULARIZATION_PROMPT = "photo of a {age}"
SAMPLING_PROMPT = "photo of a {token} {class_word} as {age}"


def age_class(text: str) -> str | None:
    """Returns the age class if the whole ``text`` spells one ("Young Adult", "middle-aged"), else None."""
    return _SPELLINGS.get(re.sub(r"[^a-z]", "", text.lower())) if not re.search(r"\d", text) else None


def class_of(years: float) -> str:
    """Returns the age class for ``years``; the nearest class below 2 and above 95 years."""
    return next((name for name, (_, last) in CLASS_YEARS.items() if years < last + 1), AGE_CLASSES[-1])


def as_class(age: str | int) -> str:
    """Returns the age class of ``age``, which is in years or already a class."""
    return class_of(age) if isinstance(age, int) else age


def class_middle(name: str) -> float:
    """Returns the middle of an age class, in years."""
    first, last = CLASS_YEARS[name]
    return (first + last + 1) / 2


def middle_years(age: str | int) -> float:
    """Returns ``age`` in years; for a class, its middle."""
    return age if isinstance(age, int) else class_middle(age)


def leading_age_class(text: str) -> str | None:
    """Returns the age class that ``text`` starts with ("middle-aged_0012" -> middleaged), or None."""
    words = re.findall(r"[a-zA-Z]+", re.split(r"\d", text, maxsplit=1)[0])
    matches = (age_class(" ".join(words[:count])) for count in range(len(words), 0, -1))
    return next((match for match in matches if match), None)


def leading_years(text: str) -> int | None:
    """Returns the years that ``text`` starts with, if a word follows ("34_beach", "8-year-old"), else None.

    Numbers such as 01 and 20190704 are not ages.
    """
    match = re.match(rf"({_YEARS})[ _-]+(?=[^\W\d_])", text)
    return int(match[1]) if match else None


def mentioned_age_classes(text: str) -> set[str]:
    """Returns the age classes that ``text`` mentions as whole words ("photo of a middle-aged" -> {middleaged})."""
    words = re.findall(r"[a-z]+", re.sub(r"\d+[-_ ]years?[-_ ]old", " ", text.lower()))
    pairs = [" ".join(pair) for pair in pairwise(words)]
    return {name for phrase in words + pairs if (name := age_class(phrase))}


def whole_years(text: str) -> int | None:
    """Returns the years if the whole ``text`` is an age ("34", "8 years"), else None. 01 and 1987 are not ages."""
    match = re.fullmatch(rf"({_YEARS})([ _-]years?([ _-]old)?)?", text)
    return int(match[1]) if match else None


def mentioned_years(text: str) -> set[int]:
    """Returns the ages in years that ``text`` mentions ("a 45-year-old on a beach" -> {45})."""
    # In ASCII, \b also lies between a Chinese character and a digit.
    return {int(years) for years in re.findall(rf"\b({_YEARS})[- ]years?[- ]old\b", text.lower(), re.ASCII)}


def parse_age(text: str | int) -> str | int:
    """Parses one age: a class in any spelling, or whole years from 0 to 100 ("45", "45-year-old").

    Raises UserError for anything else.
    """
    years = re.fullmatch(r"\s*(\d{1,9})([- ]years?([- ]old)?)?\s*", str(text))
    if years and int(years.group(1)) <= MAX_AGE:
        return int(years.group(1))
    if name := age_class(str(text)):
        return name
    raise InvalidSetting(
        f"'{text}' is not an age. Use one of: {', '.join(AGE_CLASSES)}; or whole years from 0 to {MAX_AGE}."
    )


def parse_photo_ages(text: str, count: int) -> list[str | int | None]:
    """Parses comma-separated ages for ``count`` photos; "?" stands for an unknown age ("8, 8, ?, old").

    Raises UserError if the number of ages differs from ``count`` or an entry is not an age.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != count:
        raise InvalidSetting(
            f"Got {len(parts)} ages for {count} photos ({text}). Give one age per photo, in the photos' order; write "
            f"{UNKNOWN_AGE} for an unknown age."
        )
    return [None if part == UNKNOWN_AGE else parse_age(part) for part in parts]


def parse_ages(text: str) -> list[str | int]:
    """Parses a comma-separated list of ages; "all" stands for the six classes in order.

    Raises UserError if the list is empty or contains an age twice, in any spelling.
    """
    if text.strip().lower() == "all":
        return list(AGE_CLASSES)
    ages = [parse_age(part) for part in text.split(",") if part.strip()]
    if not ages:
        raise InvalidSetting(
            f"'{text}' contains no age. Use 'all', or one or more of: {', '.join(AGE_CLASSES)}; or years."
        )
    if (duplicate := next((age for index, age in enumerate(ages) if age in ages[:index]), None)) is not None:
        raise InvalidSetting(f"'{text}' lists {display_name(duplicate)} more than once. List each age once.")
    return ages


def age_of(name: str) -> str | int | None:
    """Returns the age that an image's file name starts with ("elderly.png", "45-year-old.png").

    Returns None if it starts with no age or mentions several classes.
    """
    stem = Path(name).stem
    years = re.match(r"\d+-year-old", stem)
    several = len(mentioned_age_classes(stem)) > 1
    return parse_age(years.group()) if years else None if several else leading_age_class(stem)


@dataclass(frozen=True)
class AgeEstimate:
    """The apparent age of a face, in years and as one of the six classes."""

    years: float
    age_class: str


def years_off(years: float, asked: str | int) -> float:
    """Returns the distance in years from ``years`` to the requested age ``asked``; 0 inside a requested class."""
    if isinstance(asked, int):
        return abs(years - asked)
    first, last = CLASS_YEARS[asked]
    return max(0.0, first - years, years - (last + 1))


def age_is_right(estimate: AgeEstimate, asked: str | int) -> bool:
    """Returns whether the estimate has the requested class, or is within TOLERANCE of the requested years."""
    return years_off(estimate.years, asked) <= TOLERANCE if isinstance(asked, int) else estimate.age_class == asked


@dataclass(frozen=True)
class BetweenAges:
    """A point between two ages: the fraction ``part`` in [0, 1) of the way from ``age`` to ``following``."""

    age: str | int
    following: str | int
    part: float

    def __str__(self) -> str:
        if isinstance(self.age, int) and isinstance(self.following, int):
            return display_name(round(self.age + self.part * (self.following - self.age)))
        return display_name(self.age if self.part < 0.5 else self.following)


def age_sequence(first: str | int, last: str | int, count: int) -> list[BetweenAges]:
    """Returns ``count`` evenly spaced points from ``first`` to ``last``, up or down, through the ages in between.

    Raises UserError if one is a class and the other is in years.
    """
    if isinstance(first, int) != isinstance(last, int):
        raise InvalidSetting(
            f"An age sequence cannot go from {first} to {last}. Use two age classes, or two ages in years."
        )
    ages: list[str | int] = [*range(MAX_AGE + 1)] if isinstance(first, int) else [*AGE_CLASSES]
    start, stop = ages.index(first), ages.index(last)
    sequence = []
    for step in range(count):
        position = start + (stop - start) * step / max(1, count - 1)
        below = int(position)
        sequence.append(BetweenAges(ages[below], ages[min(below + 1, len(ages) - 1)], position - below))
    return sequence


def age_words(age: str | int) -> str:
    """Returns the words for ``age`` in a prompt: a class as the data set spells it, or "45-year-old"."""
    return f"{age}-year-old" if isinstance(age, int) else age


def same_age(first: str | int, second: str | int) -> bool:
    """Returns whether two ages agree: equal years, or the same class if at least one of them is a class."""
    if isinstance(first, int) and isinstance(second, int):
        return first == second
    return as_class(first) == as_class(second)


def classes_apart(first: str | int, second: str | int) -> int:
    """Returns the number of age classes from one age to the other; 0 within the same class."""
    return abs(AGE_CLASSES.index(as_class(first)) - AGE_CLASSES.index(as_class(second)))


def nearest_to(age: str | int | None, others: Sequence[str | int | None]) -> list[int]:
    """Returns the indices of the ``others`` closest to ``age``, in classes. The distance to an unknown age is 0."""
    distances = [0 if age is None or other is None else classes_apart(age, other) for other in others]
    smallest = min(distances, default=0)
    return [index for index, distance in enumerate(distances) if distance == smallest]


def display_name(age: str | int) -> str:
    """Returns the words for ``age`` in labels and messages."""
    return f"{age} years" if isinstance(age, int) else DISPLAY_NAMES[age]


def fill_prompt(template: str, *, token: str = "", class_word: str = "", age: str | int = "") -> str:
    """Fills {token}, {class_word} and {age} into ``template``.

    Raises UserError if the template has unbalanced braces or anything else in braces, such as a format.
    """
    values = {"token": token, "class_word": class_word, "age": age_words(age)}
    try:
        parts = list(Formatter().parse(template))
    except ValueError as error:
        raise InvalidSetting(
            f"The prompt template '{template}' has unbalanced braces ({error}). For a literal brace, write it twice."
        ) from error
    for _, name, form, conversion in parts:
        if name is not None and (name not in values or form or conversion):
            placeholder = name + (f"!{conversion}" if conversion else "") + (f":{form}" if form else "")
            raise InvalidSetting(
                f"The prompt template '{template}' contains {{{placeholder}}}. Use only {{token}}, {{class_word}} and "
                "{age}, without a format."
            )
    return "".join(text + (values[name] if name is not None else "") for text, name, _, _ in parts)


def with_extra(prompt: str, extra: str) -> str:
    """Adds the text ``extra`` to a finished prompt, after a comma.

    Raises UserError for a choice such as {red|blue}: nothing here would choose, and the model would read the braces.
    """
    if choice := re.search(r"\{[^{}]*\|[^{}]*\}", extra):
        raise InvalidSetting(
            f"extra contains {choice[0]}, and choices in braces are not made here. Write one of them, or choose before "
            "this node."
        )
    return f"{prompt}, {extra.strip()}" if extra.strip() else prompt

"""Picks the best of several candidates per age: the most similar one whose age is right."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..ages import AgeEstimate, age_is_right, display_name, years_off
from ..errors import InvalidData


@dataclass(frozen=True)
class Pick:
    """The pick for one age. ``index`` is None if no candidate has a face."""

    age: str | int
    index: int | None
    similarity: float  # nan if index is None
    remark: str


def pick_best(
    ages: Sequence[str | int], similarities: Sequence[float], estimates: Sequence[AgeEstimate | None] | None = None
) -> list[Pick]:
    """Returns one pick per age, in order of first appearance.

    Each sequence has one entry per candidate; a similarity is nan if there is no face. Picks the most similar candidate
    whose age is right. If no age is right, picks the candidate closest in age, and the remark says so. Without
    ``estimates``, picks by similarity alone. Raises UserError if the sequences differ in length.
    """
    for what, values in (("similarities", similarities), ("estimated ages", estimates)):
        if values is not None and len(values) != len(ages):
            raise InvalidData(f"Got {len(ages)} candidates but {len(values)} {what}. Give one per candidate.")
    return [
        _best(age, [index for index, requested in enumerate(ages) if requested == age], similarities, estimates)
        for age in dict.fromkeys(ages)
    ]


def _best(age, candidates: list[int], similarities, estimates) -> Pick:
    def pick(index: int | None, remark: str) -> Pick:
        return Pick(age, index, math.nan if index is None else similarities[index], f"{display_name(age)}: {remark}")

    faces = [index for index in candidates if not math.isnan(similarities[index])]
    if not faces:
        return pick(None, f"no face in any of {len(candidates)} candidates")
    most_similar = max(faces, key=lambda index: similarities[index])
    if estimates is None:
        return pick(most_similar, f"most similar of {len(faces)}; ages were not checked")
    with_age = [index for index in faces if estimates[index] is not None]
    if not with_age:
        return pick(most_similar, f"most similar of {len(faces)}; none has an estimated age")
    if right := [index for index in with_age if age_is_right(estimates[index], age)]:
        best = max(right, key=lambda index: similarities[index])
        return pick(best, f"most similar of the {len(right)} with the right age, out of {len(faces)}")
    best = min(with_age, key=lambda index: (years_off(estimates[index].years, age), -similarities[index]))
    years = estimates[best].years
    return pick(best, f"none of {len(faces)} has the right age; the closest one looks {years:.0f} years old")

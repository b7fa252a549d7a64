"""The best of several candidates for each age: the likest whose age is right."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..ages import AgeEstimate, age_is_right, display_name, years_off
from ..errors import UserError


@dataclass(frozen=True)
class Pick:
    """The choice for one age. ``index`` is None where no candidate shows a face."""

    age: str | int
    index: int | None
    similarity: float  # nan where index is None
    remark: str


def pick_best(
    ages: Sequence[str | int], similarities: Sequence[float], estimates: Sequence[AgeEstimate | None] | None = None
) -> list[Pick]:
    """One choice for every age, in the order in which they first come.

    The sequences are as long as there are candidates; a similarity is nan where there is no face. Of the candidates
    whose age is right the likest is taken; where none is right, that whose age is least wrong, and the remark says so.
    Without ``estimates`` similarity alone decides.
    """
    for what, found in (("similarities", similarities), ("estimated ages", estimates)):
        if found is not None and len(found) != len(ages):
            raise UserError(f"There are {len(ages)} candidates but {len(found)} {what}; there must be one for each.")
    return [
        _best(age, [index for index, asked in enumerate(ages) if asked == age], similarities, estimates)
        for age in dict.fromkeys(ages)
    ]


def _best(age, candidates: list[int], similarities, estimates) -> Pick:
    def pick(index: int | None, remark: str) -> Pick:
        return Pick(age, index, math.nan if index is None else similarities[index], f"{display_name(age)}: {remark}")

    faces = [index for index in candidates if not math.isnan(similarities[index])]
    if not faces:
        return pick(None, f"no face in any of {len(candidates)} candidates")
    likest = max(faces, key=lambda index: similarities[index])
    if estimates is None:
        return pick(likest, f"the likest of {len(faces)}; their age was not looked at")
    known = [index for index in faces if estimates[index] is not None]
    if not known:
        return pick(likest, f"the likest of {len(faces)}; none has an estimated age")
    if right := [index for index in known if age_is_right(estimates[index], age)]:
        best = max(right, key=lambda index: similarities[index])
        return pick(best, f"the likest of {len(right)} of {len(faces)} whose age is right")
    best = min(known, key=lambda index: (years_off(estimates[index].years, age), -similarities[index]))
    years = estimates[best].years
    return pick(
        best, f"the age is right in none of {len(faces)}; the nearest is taken, which looks {years:.0f} years old"
    )

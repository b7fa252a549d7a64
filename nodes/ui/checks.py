"""What is said of inputs that do not fit."""

from collections.abc import Callable, Sequence
from typing import Any

from ...training.ages import parse_age
from ...training.errors import UserError


def sentence(check: Callable[..., Any], *values: Any) -> bool | str:
    """What validate_inputs answers: True, or why ``check`` refuses ``values``. A linked one is None and passes.

    ComfyUI blames every input that a validate_inputs names: it should name those at fault only, or see ``blaming``.
    """
    if None in values:
        return True
    try:
        check(*values)
    except UserError as error:
        return str(error)
    return True


def blaming(name: str, said: bool | str) -> bool | str:
    """``said`` of the input ``name`` alone: web/identity_aging.js takes the blame off the others by this beginning."""
    return said if said is True else f"{name}: {said}"


def in_turn(values: Sequence[Any], count: int, what: str) -> list[Any]:
    """One of ``values`` for each of ``count`` pictures; they begin anew when done. Raises UserError where none fits."""
    if not values or count % len(values):
        raise UserError(
            f"{count} pictures cannot have {len(values)} {what} in turn. Give as many {what} as pictures, or draw each "
            "of them equally often, in their order; of a sequence, the count is the batch size of its latents."
        )
    return [*values] * (count // len(values))


def ages_in_turn(ages: list | None, count: int) -> list:
    """The age of each of ``count`` pictures, of which every len(ages) begin anew. Raises UserError where none fits."""
    return in_turn([parse_age(age) for age in ages], count, "ages") if ages else [None] * count

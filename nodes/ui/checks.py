"""Input checks for validate_inputs, and the lengths of lists."""

from collections.abc import Callable, Sequence
from typing import Any

from ...training.ages import parse_age
from ...training.errors import InvalidData, UserError


def sentence(check: Callable[..., Any], *values: Any) -> bool | str:
    """Returns True if ``check(*values)`` passes, else its UserError as text: the result that validate_inputs needs.

    A connected input is None and passes. ComfyUI marks every input named in the signature of validate_inputs, so name
    only those at fault, or use ``blame_only``.
    """
    if None in values:
        return True
    try:
        check(*values)
    except UserError as error:
        return str(error)
    return True


def blame_only(name: str, result: bool | str) -> bool | str:
    """Prefixes an error with ``name``, so that web/identity_aging.js marks only that input."""
    return result if result is True else f"{name}: {result}"


def the_only(values: Sequence[Any], name: str) -> Any:
    """The value of the input ``name`` of a node that receives lists. Raises UserError unless it is exactly one."""
    if len(values) != 1:
        raise InvalidData(
            f"{name} is a list of {len(values)} values, but this node takes one. Connect a single value, and queue the "
            "graph once per value."
        )
    return values[0]


def one_per_image(values: Sequence[Any], count: int, what: str) -> list[Any]:
    """Returns ``values`` as a list. Raises UserError unless there are ``count`` of them."""
    if len(values) != count:
        raise InvalidData(f"Got {count} images but {len(values)} {what}. Score exactly these images, in this order.")
    return [*values]


def repeat_for(values: Sequence[Any], count: int, what: str) -> list[Any]:
    """Repeats ``values`` to the length ``count``. Raises UserError unless ``count`` is a multiple of their number."""
    if not values or count % len(values):
        raise InvalidData(
            f"Got {count} images but {len(values)} {what}. Give one per image, or a multiple of {len(values)} images; "
            "for a sequence, set the latent batch size to its count."
        )
    return [*values] * (count // len(values))


def ages_in_turn(ages: list | None, count: int) -> list:
    """The age per image, with ``ages`` repeated as in ``repeat_for``; all None without ages."""
    return repeat_for([parse_age(age) for age in ages], count, "ages") if ages else [None] * count

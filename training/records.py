"""JSON that we wrote, read back: a sentence where it is damaged; fields of a later version do no harm."""

import json
import math
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from .errors import UserError

T = TypeVar("Record")

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "a table"}


def read_json(path: Path) -> Any:
    """What a JSON file holds. Raises UserError where there is none, or it is damaged."""
    try:
        return parse_json(path.read_bytes(), str(path))
    except OSError as error:
        raise UserError(f"{path} cannot be opened: {error.strerror}.") from error


def parse_json(text: str | bytes, source: str) -> Any:
    """The value of ``text``, which was found in ``source``. Raises UserError where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{source} is damaged: it holds no JSON where it should.") from error


def from_json(kind: type[T], found: Any, source: str) -> T:
    """The dataclass ``kind`` out of the JSON object ``found``, which was read from ``source``.

    Fields that ``kind`` has not are left out: a later version wrote them. Raises UserError for one that is missing or
    of another type.
    """
    if not isinstance(found, dict):
        raise UserError(f"{source} is damaged: it holds {_named(type(found))} where a table should be.")
    values, hints = {}, get_type_hints(kind)
    for field in fields(kind):  # ty: ignore[invalid-argument-type]
        if field.name not in found:
            if field.default is MISSING and field.default_factory is MISSING:
                raise UserError(f"{source} is damaged: it lacks '{field.name}'.")
            continue
        value, hint = found[field.name], hints[field.name]
        if not _fits(value, hint):
            raise UserError(f"{source} is damaged: '{field.name}' is {str(value)[:40]!r} and should be {_named(hint)}.")
        values[field.name] = value
    return kind(**values)


def _named(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_named(part) for part in get_args(hint))
    return _NAMES.get(get_origin(hint) or hint, "nothing" if hint is type(None) else "something else")


def _fits(value: Any, hint: Any) -> bool:
    kind, parts = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, UnionType):
        return any(_fits(value, part) for part in parts)
    if kind in (int, float):
        whole = isinstance(value, int) and not isinstance(value, bool)
        largest = sys.float_info.max  # which nan is not within either
        return (whole or (kind is float and isinstance(value, float))) and -largest <= value <= largest
    if kind is Any:
        return True
    within = value if kind is list else value.values() if kind is dict and isinstance(value, dict) else ()
    return isinstance(value, kind) and (not parts or all(_fits(one, parts[-1]) for one in within))


def finite(value: Any) -> Any:
    """``value`` as JSON can hold it: plain types, and None for every number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value

"""Reads and checks the JSON that this project writes. Unknown fields of later versions are ignored."""

import json
import math
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import numpy as np

from .errors import DamagedFile, MissingFile, Unavailable

T = TypeVar("T")

_NAMES = {str: "text", int: "a whole number", float: "a number", bool: "true or false", list: "a list", dict: "a table"}


def read_json(path: Path) -> Any:
    """Returns the contents of a JSON file. Raises UserError if it is missing, unreadable or damaged."""
    try:
        return parse_json(path.read_bytes(), str(path))
    except FileNotFoundError as error:
        raise MissingFile(f"{path} cannot be opened: {error.strerror}.") from error
    except OSError as error:
        raise Unavailable(f"{path} cannot be opened: {error.strerror}.") from error


def parse_json(text: str | bytes, source: str) -> Any:
    """Parses the JSON ``text`` from ``source``, which error messages name. Raises UserError if it is not JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DamagedFile(f"{source} is damaged: expected JSON.") from error


def from_json(record_type: type[T], json_object: Any, source: str) -> T:
    """Builds the dataclass ``record_type`` from ``json_object``, which was read from ``source``.

    Ignores unknown fields, which a later version may have written. Raises UserError if a field without a default is
    missing or a field has the wrong type.
    """
    if not isinstance(json_object, dict):
        raise DamagedFile(f"{source} is damaged: expected a table, got {_type_name(type(json_object))}.")
    values, hints = {}, get_type_hints(record_type)
    for field in fields(record_type):  # ty: ignore[invalid-argument-type]
        if field.name not in json_object:
            if field.default is MISSING and field.default_factory is MISSING:
                raise DamagedFile(f"{source} is damaged: '{field.name}' is missing.")
            continue
        value, hint = json_object[field.name], hints[field.name]
        if not _has_type(value, hint):
            raise DamagedFile(
                f"{source} is damaged: '{field.name}' is {str(value)[:40]!r}, expected {_type_name(hint)}."
            )
        values[field.name] = value
    return record_type(**values)


def _type_name(hint: Any) -> str:
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(_type_name(part) for part in get_args(hint))
    return _NAMES.get(get_origin(hint) or hint, "nothing" if hint is type(None) else "something else")


def _has_type(value: Any, hint: Any) -> bool:
    outer, parts = get_origin(hint) or hint, get_args(hint)
    if outer in (Union, UnionType):
        return any(_has_type(value, part) for part in parts)
    if outer in (int, float):
        whole = isinstance(value, int) and not isinstance(value, bool)
        largest = sys.float_info.max  # the range check below also rejects nan
        return (whole or (outer is float and isinstance(value, float))) and -largest <= value <= largest
    if outer is Any:
        return True
    items = value if outer is list else value.values() if outer is dict and isinstance(value, dict) else ()
    return isinstance(value, outer) and (not parts or all(_has_type(item, parts[-1]) for item in items))


def finite(value: Any) -> Any:
    """Converts ``value`` to types that JSON supports. Numbers that are not finite become None."""
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite(part) for part in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value

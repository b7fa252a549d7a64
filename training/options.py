"""One description of an option, read by the command line and the nodes: a dataclass field that says what it is for."""

import math
import shlex
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from .errors import UserError

Kind = type[str] | type[int] | type[float] | type[bool] | type[Path]


def option(default: Any = MISSING, *, help: str, **limits: Any) -> Any:
    """A dataclass field with its ``help``; without a ``default`` it must be given.

    ``limits``: ``choices``, the values allowed; ``low`` and ``high``, both of them allowed; ``multiple`` of what a
    number must be; ``output``, "folder" or "file", of a path that is written to; ``positional``, for what a command
    line takes without its name. Its annotation is str, int, float, bool or Path, a tuple of one of these, or either
    with None.
    """
    return field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True)
class Option:
    """What is known of one option."""

    name: str
    kind: Kind  # of the value, or of each where there are many
    many: bool
    optional: bool  # None stands for "nobody said"
    default: Any  # MISSING: it must be given
    help: str
    choices: tuple[str, ...] | None
    low: float | None
    high: float | None
    multiple: int | None
    output: str | None
    positional: bool

    @property
    def flag(self) -> str:
        """Its name on a command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is MISSING


@cache
def options_of(described: type[Any]) -> tuple[Option, ...]:
    """Every option of a dataclass whose fields were made by ``option``."""
    hints = get_type_hints(described)
    return tuple(_read(one.name, hints[one.name], one.default, dict(one.metadata)) for one in fields(described))


def spelled(described: Any) -> str:
    """What differs from the defaults, as it is written on a command line."""
    words = []
    for known in options_of(type(described)):
        value = getattr(described, known.name)
        if value != known.default:
            words += [f"{known.flag} {shlex.quote(str(one))}" for one in (value if known.many else (value,))]
    return " ".join(words)


def check(described: Any) -> None:
    """Raises UserError for the first value that its option does not allow; nan and inf are allowed nowhere."""
    for known in options_of(type(described)):
        value = getattr(described, known.name)
        if value is not None:
            for one in value if known.many else (value,):
                _check(known, one)


def _read(name: str, annotation: Any, default: Any, limits: dict[str, Any]) -> Option:
    optional = get_origin(annotation) in (Union, UnionType)
    if optional:
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    many = get_origin(annotation) is tuple
    choices = limits.get("choices")
    return Option(
        name=name,
        kind=get_args(annotation)[0] if many else annotation,
        many=many,
        optional=optional,
        default=default,
        help=limits["help"],
        choices=tuple(choices) if choices else None,
        low=limits.get("low"),
        high=limits.get("high"),
        multiple=limits.get("multiple"),
        output=limits.get("output"),
        positional=limits.get("positional", False),
    )


def _check(known: Option, value: Any) -> None:
    name, low, high = known.name, known.low, known.high
    if known.choices and value not in known.choices:
        raise UserError(f"{name} cannot be '{value}'. Use one of: {', '.join(known.choices)}.")
    if known.kind is str:
        _check_text(name, value)
    if known.kind not in (int, float):
        return
    if not math.isfinite(value):
        raise UserError(f"{name} is {value}; it must be a number.")
    if low is not None and high is not None and not low <= value <= high:
        raise UserError(f"{name} is {value}; it must be from {low:g} to {high:g}.")
    if low is not None and value < low:
        raise UserError(f"{name} is {value}; it must be at least {low:g}.")
    if known.multiple and value % known.multiple:
        raise UserError(f"{name} is {value}; it must be a multiple of {known.multiple}.")


def _check_text(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{name} holds bytes that are no text in UTF-8: {value!r}.") from error

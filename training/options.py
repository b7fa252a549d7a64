"""Options as dataclass fields with help and limits, shared by the command line and the nodes."""

import math
import shlex
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from .errors import InvalidSetting

ValueType = type[str] | type[int] | type[float] | type[bool] | type[Path]


def option(default: Any = MISSING, *, help: str, **limits: Any) -> Any:
    """Returns a dataclass field for an option; without a ``default`` the option is required.

    ``help`` starts in lower case and has no final period. ``limits`` may contain ``choices``, the allowed values;
    ``low`` and ``high``, inclusive; ``multiple``, of which a number must be a multiple; ``output``, "folder" or "file",
    for a path to write to; ``positional``, for an argument without a flag. The field's annotation is str, int, float,
    bool or Path, a tuple of one of these, or either of both with None.
    """
    return field(default=default, metadata={"help": help, **limits})


@dataclass(frozen=True)
class Option:
    """The name, type, default and limits of one option."""

    name: str
    kind: ValueType  # type of the value, or of each value if ``many``
    many: bool
    optional: bool  # None is allowed and means "not given"
    default: Any  # MISSING: the option is required
    help: str
    choices: tuple[str, ...] | None
    low: float | None
    high: float | None
    multiple: int | None
    output: str | None
    positional: bool

    @property
    def flag(self) -> str:
        """The option's flag on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def required(self) -> bool:
        """Whether the option must be given."""
        return self.default is MISSING


@cache
def options_of(described: type[Any]) -> tuple[Option, ...]:
    """Returns the options of a dataclass whose fields come from ``option``."""
    hints = get_type_hints(described)
    return tuple(
        _option_of(item.name, hints[item.name], item.default, dict(item.metadata)) for item in fields(described)
    )


def spelled(described: Any) -> str:
    """Returns the command line arguments for all values that differ from their defaults."""
    words = []
    for spec in options_of(type(described)):
        value = getattr(described, spec.name)
        if value != spec.default:
            words += [f"{spec.flag} {shlex.quote(str(item))}" for item in (value if spec.many else (value,))]
    return " ".join(words)


def check(described: Any) -> None:
    """Raises UserError for the first value that its option does not allow, and for any nan or inf."""
    for spec in options_of(type(described)):
        value = getattr(described, spec.name)
        if value is not None:
            for item in value if spec.many else (value,):
                _check(spec, item)


def _option_of(name: str, annotation: Any, default: Any, limits: dict[str, Any]) -> Option:
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


def _check(spec: Option, value: Any) -> None:
    name, low, high = spec.name, spec.low, spec.high
    if spec.choices and value not in spec.choices:
        raise InvalidSetting(f"{name} cannot be '{value}'. Use one of: {', '.join(spec.choices)}.")
    if spec.kind is str:
        _check_text(name, value)
    if spec.kind not in (int, float):
        return
    if not math.isfinite(value):
        raise InvalidSetting(f"{name} is {value}; it must be a number.")
    if low is not None and high is not None and not low <= value <= high:
        raise InvalidSetting(f"{name} is {value}; it must be between {low:g} and {high:g}.")
    if low is not None and value < low:
        raise InvalidSetting(f"{name} is {value}; it must be at least {low:g}.")
    if spec.multiple and value % spec.multiple:
        raise InvalidSetting(f"{name} is {value}; it must be a multiple of {spec.multiple}.")


def _check_text(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InvalidSetting(f"{name} is not valid UTF-8 text: {value!r}.") from error

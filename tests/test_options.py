import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from training.cli.parser import COMMANDS
from training.config import TrainingConfig
from training.errors import InvalidSetting
from training.options import check, option, options_of, spelled


@dataclass(frozen=True)
class Example:
    where: Path = option(help="a folder")
    count: int = option(2, help="how many", low=1, high=8, multiple=2)
    share: float | None = option(None, help="a part", low=0)
    kinds: tuple[str, ...] = option(("a",), help="which", choices=("a", "b"))


def test_types_are_read_from_the_annotation():
    where, count, share, kinds = options_of(Example)
    assert (where.kind, where.required, where.flag) == (Path, True, "--where")
    assert (count.kind, count.many, count.optional, count.default) == (int, False, False, 2)
    assert (share.kind, share.optional, share.default) == (float, True, None)
    assert (kinds.kind, kinds.many, kinds.choices) == (str, True, ("a", "b"))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"count": 0}, ["count", "0", "1", "8"]),
        ({"count": 9}, ["count", "9", "1", "8"]),
        ({"count": 3}, ["count", "3", "multiple", "2"]),
        ({"share": -0.1}, ["share", "-0.1", "0"]),
        ({"share": float("nan")}, ["share", "nan"]),
        ({"share": float("inf")}, ["share", "inf"]),
        ({"kinds": ("a", "c")}, ["kinds", "'c'", "a, b"]),
    ],
)
def test_a_value_that_is_not_allowed_raises_with_the_option_the_value_and_the_limits(values, words):
    with pytest.raises(InvalidSetting, match=".*".join(rf"(?<!\w){re.escape(word)}(?!\w)" for word in words)):
        check(Example(Path(), **values))


def test_only_values_other_than_the_default_are_spelled():
    assert spelled(Example(Path("x"))) == "--where x"
    assert spelled(Example(Path("x"), 4, 0.5, ("a", "b"))) == "--where x --count 4 --share 0.5 --kinds a --kinds b"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", 0.0),  # training would change nothing
        ("lora_alpha", 0.0),
        ("seed", 2**64),
        ("resolution", 0),
    ],
)
def test_settings_that_cannot_train_raise(name, value):
    with pytest.raises(InvalidSetting, match=rf"{name}\b.*\b{value}\b"):
        TrainingConfig(**{name: value})


def test_every_numeric_option_of_every_command_has_a_lower_limit():
    for command in COMMANDS.values():
        for described in command.described:
            for spec in options_of(described):
                assert spec.kind not in (int, float) or spec.low is not None, spec.name

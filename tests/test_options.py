from dataclasses import dataclass
from pathlib import Path

import pytest

from training.cli.parser import COMMANDS
from training.config import TrainingConfig
from training.errors import UserError
from training.options import check, option, options_of, spelled


@dataclass(frozen=True)
class Example:
    where: Path = option(help="a folder")
    count: int = option(2, help="how many", low=1, high=8, multiple=2)
    share: float | None = option(None, help="a part", low=0)
    kinds: tuple[str, ...] = option(("a",), help="which", choices=("a", "b"))


def test_types_are_read_off_the_annotation():
    where, count, share, kinds = options_of(Example)
    assert (where.kind, where.required, where.flag) == (Path, True, "--where")
    assert (count.kind, count.many, count.optional, count.default) == (int, False, False, 2)
    assert (share.kind, share.optional, share.default) == (float, True, None)
    assert (kinds.kind, kinds.many, kinds.choices) == (str, True, ("a", "b"))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"count": 0}, "count is 0; it must be from 1 to 8"),
        ({"count": 9}, "count is 9; it must be from 1 to 8"),
        ({"count": 3}, "count is 3; it must be a multiple of 2"),
        ({"share": -0.1}, "share is -0.1; it must be at least 0"),
        ({"share": float("nan")}, "share is nan; it must be a number"),
        ({"share": float("inf")}, "share is inf; it must be a number"),
        ({"kinds": ("a", "c")}, "kinds cannot be 'c'. Use one of: a, b"),
    ],
)
def test_what_an_option_does_not_allow_is_a_sentence(values, sentence):
    with pytest.raises(UserError, match=sentence):
        check(Example(Path(), **values))


def test_only_what_differs_is_spelled():
    assert spelled(Example(Path("x"))) == "--where x"
    assert spelled(Example(Path("x"), 4, 0.5, ("a", "b"))) == "--where x --count 4 --share 0.5 --kinds a --kinds b"


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),  # it would train nothing, or at another rate
        ({"lora_alpha": 0.0}, "lora_alpha is 0.0"),
        ({"seed": 2**64}, "seed is 18446744073709551616"),
        ({"resolution": 0}, "resolution is 0"),
    ],
)
def test_a_zero_that_would_train_nothing_is_refused(values, sentence):
    with pytest.raises(UserError, match=sentence):
        TrainingConfig(**values)


def test_every_number_of_every_command_has_a_lower_limit():
    for command in COMMANDS.values():
        for described in command.described:
            for known in options_of(described):
                assert known.kind not in (int, float) or known.low is not None, known.name

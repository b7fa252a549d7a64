"""Builds the command line from the options that each command describes."""

from argparse import SUPPRESS, ArgumentParser, BooleanOptionalAction
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..cast.cluster import ClusterOptions
from ..options import Option, options_of
from . import cast, demo, generate, score, train, world
from .cast_job import COLUMNS
from .outputs import check_apart, checked


@dataclass(frozen=True)
class Command:
    """A function that takes an instance of each class in ``described`` and returns the exit code.

    ``columns`` are options that may also be columns of a table. The function gets those on the command line as a
    dict by name.
    """

    help: str
    function: Callable[..., int]
    described: tuple[type, ...]
    columns: tuple[Option, ...] = ()


COMMANDS = {
    "train": Command("train a subject from photos", train.train, (train.TrainOptions, train.TrainingConfig)),
    "cast": Command(
        "train, generate and score a table of subjects, on one machine or a cluster; continues where it stopped",
        cast.cast,
        (cast.CastOptions, ClusterOptions),
        COLUMNS,
    ),
    "generate": Command("generate the subject at several ages", generate.generate, (generate.GenerateOptions,)),
    "score": Command("score how well the identity is preserved", score.score, (score.ScoreOptions,)),
    "world": Command("write a small model and synthetic photos to try things out", world.world, (world.WorldOptions,)),
    "demo": Command("train, generate and score a synthetic person", demo.demo, (demo.DemoOptions,)),
}


def run_command(argv: Sequence[str] | None, program: str, commands: Mapping[str, Command]) -> int:
    """Runs the command named in ``argv`` and returns its exit code.

    Raises UserError if an option has a value that is not allowed, or an output lies inside an input.
    """
    given = vars(_parser(program, commands).parse_args(argv))
    command = commands[given.pop("command")]
    described = [option for kind in command.described for option in options_of(kind)]
    check_apart({option: given[option.name] for option in (*described, *command.columns) if option.name in given})
    parts = []
    for described in command.described:
        values = {
            option.name: checked(option, given[option.name]) for option in options_of(described) if option.name in given
        }
        parts.append(described(**values))
    if command.columns:
        parts.append({option.name: given[option.name] for option in command.columns if option.name in given})
    return command.function(*parts)


def _parser(program: str, commands: Mapping[str, Command]) -> ArgumentParser:
    root = ArgumentParser(program)
    parsers = root.add_subparsers(required=True, metavar="command", dest="command")
    for name, command in commands.items():
        parser = parsers.add_parser(name, help=command.help, allow_abbrev=False)
        for described in command.described:
            for option in options_of(described):
                _add(parser, option)
        for option in command.columns:
            _add(parser, replace(option, default=None) if option.required else option)
    return root


def _add(parser: ArgumentParser, option: Option) -> None:
    """Adds an option without a default: the dataclass of the command holds the defaults."""
    help = (option.help + _default(option)).replace("%", "%%")
    if option.positional:
        parser.add_argument(option.name, help=help, type=option.kind)
        return
    settings: dict[str, Any] = {"help": help, "required": option.required, "default": SUPPRESS}
    if option.kind is bool:
        settings["action"] = BooleanOptionalAction
    else:
        settings |= {"type": option.kind, "choices": option.choices}
    if option.many:
        settings |= {"nargs": "+", "action": "extend"}
    parser.add_argument(option.flag, **settings)


def _default(option: Option) -> str:
    """The default as shown in the help, or an empty string."""
    if option.required or option.default in (None, "", ()):
        return ""
    value = option.default
    shown = ("off", "on")[value] if option.kind is bool else ", ".join(value) if option.many else value
    return f" (default: {shown})"

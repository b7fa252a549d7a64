"""The command line, made from the options that each command describes."""

from argparse import SUPPRESS, ArgumentParser, BooleanOptionalAction
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..cast.cluster import ClusterOptions
from ..options import Option, options_of
from . import cast, demo, generate, score, train, world
from .outputs import checked


@dataclass(frozen=True)
class Command:
    """A function that takes an instance of each of ``described`` and returns the exit code.

    ``columns`` are options that a row of a table may have as well: the function gets those given, by name.
    """

    help: str
    function: Callable[..., int]
    described: tuple[type, ...]
    columns: tuple[Option, ...] = ()


COMMANDS = {
    "train": Command("train a subject from photos", train.train, (train.TrainOptions, train.TrainingConfig)),
    "cast": Command(
        "train, draw and score a table of subjects, on one machine or a cluster; goes on where it stopped",
        cast.cast,
        (cast.CastOptions, ClusterOptions),
        cast.COLUMNS,
    ),
    "generate": Command("draw the subject at several ages", generate.generate, (generate.GenerateOptions,)),
    "score": Command("score how well identity survived", score.score, (score.ScoreOptions,)),
    "world": Command("write a small model and pictures to try everything with", world.world, (world.WorldOptions,)),
    "demo": Command("train, draw and score a person who was drawn by program", demo.demo, (demo.DemoOptions,)),
}


def run_command(argv: Sequence[str] | None, program: str, commands: Mapping[str, Command]) -> int:
    """Runs the command that ``argv`` names and returns its exit code.

    Raises UserError for values that an option does not allow.
    """
    given = vars(_parser(program, commands).parse_args(argv))
    command = commands[given.pop("command")]
    parts = []
    for described in command.described:
        known = {one.name: one for one in options_of(described)}
        parts.append(described(**{name: checked(known[name], given[name]) for name in known if name in given}))
    if command.columns:
        parts.append({known.name: given[known.name] for known in command.columns if known.name in given})
    return command.function(*parts)


def _parser(program: str, commands: Mapping[str, Command]) -> ArgumentParser:
    root = ArgumentParser(program)
    parsers = root.add_subparsers(required=True, metavar="command", dest="command")
    for name, command in commands.items():
        parser = parsers.add_parser(name, help=command.help, allow_abbrev=False)
        for described in command.described:
            for known in options_of(described):
                _add(parser, known)
        for known in command.columns:
            _add(parser, replace(known, default=None) if known.required else known)
    return root


def _add(parser: ArgumentParser, known: Option) -> None:
    """What nobody gives keeps the default of its dataclass, so the parser holds none."""
    help = (known.help + _default(known)).replace("%", "%%")
    if known.positional:
        parser.add_argument(known.name, help=help, type=known.kind)
        return
    settings: dict[str, Any] = {"help": help, "required": known.required, "default": SUPPRESS}
    if known.kind is bool:
        settings["action"] = BooleanOptionalAction
    else:
        settings |= {"type": known.kind, "choices": known.choices}
    if known.many:
        settings |= {"nargs": "+", "action": "extend"}
    parser.add_argument(known.flag, **settings)


def _default(known: Option) -> str:
    if known.required or known.default in (None, "", ()):
        return ""
    value = known.default
    shown = ("off", "on")[value] if known.kind is bool else ", ".join(value) if known.many else value
    return f" (default: {shown})"

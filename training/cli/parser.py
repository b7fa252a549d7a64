"""The command line, made from the options that each command describes."""

from argparse import SUPPRESS, ArgumentParser, BooleanOptionalAction
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..cast.cluster import ClusterOptions
from ..options import Option, options_of
from . import bench, cast, demo, generate, probe, score, study, train, world
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
    "probe": Command("show whether a matcher's gradient carries identity", probe.run, (probe.ProbeOptions,)),
    "bench": Command("count and time what the identity loss costs", bench.bench, (bench.BenchOptions,)),
    "world": Command("write a small model and pictures to try everything with", world.world, (world.WorldOptions,)),
    "demo": Command("train, draw and score a person who was drawn by program", demo.demo, (demo.DemoOptions,)),
    "study": Command(
        "measure on drawn people what each loss does; goes on where it stopped",
        study.study,
        (study.StudyOptions, ClusterOptions),
    ),
}


def run_command(argv: Sequence[str] | None) -> int:
    """Runs the command that ``argv`` names, and returns its exit code. Raises UserError for the user's mistakes."""
    given = vars(_parser().parse_args(argv))
    command = COMMANDS[given.pop("command")]
    parts = []
    for described in command.described:
        known = {one.name: one for one in options_of(described)}
        parts.append(described(**{name: checked(known[name], given[name]) for name in known if name in given}))
    if command.columns:
        parts.append({known.name: given[known.name] for known in command.columns if known.name in given})
    return command.function(*parts)


def _parser() -> ArgumentParser:
    root = ArgumentParser("python -m training", description="Train one person, draw six ages, score identity.")
    commands = root.add_subparsers(required=True, metavar="command", dest="command")
    for name, command in COMMANDS.items():
        parser = commands.add_parser(name, help=command.help, allow_abbrev=False)
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

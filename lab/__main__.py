"""Measurements that are not part of the released package: ``python -m lab COMMAND``."""

import sys
from collections.abc import Sequence

from training.cast.cluster import ClusterOptions
from training.cli.console import prepare, run
from training.cli.parser import Command, run_command

from . import costs, probe
from .study import command as study

COMMANDS = {
    "study": Command(
        "measure the effect of each loss on the synthetic world; continues where it stopped",
        study.study,
        (study.StudyOptions, ClusterOptions),
    ),
    "probe": Command("show whether a matcher's gradient carries identity", probe.run, (probe.ProbeOptions,)),
    "bench": Command("measure the cost of the identity loss in FLOPs and time", costs.bench, (costs.BenchOptions,)),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    return run(lambda: run_command(argv, "python -m lab", COMMANDS))


if __name__ == "__main__":
    prepare()
    sys.exit(main())

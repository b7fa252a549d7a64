"""The command line: ``python -m training COMMAND``."""

import sys
from collections.abc import Sequence

from .cli.console import prepare, run
from .cli.parser import COMMANDS, run_command


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code."""
    return run(lambda: run_command(argv, "python -m training", COMMANDS))


if __name__ == "__main__":
    prepare()
    sys.exit(main())

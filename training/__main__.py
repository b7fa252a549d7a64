"""The command line: python -m training COMMAND, of cli/parser."""

import sys
from collections.abc import Sequence

from .cli.console import harmless, prepare, quiet
from .cli.parser import run_command
from .errors import UserError


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command. 0: done; 2: the user's mistake, told in a sentence; 130: stopped by Ctrl-C, state saved."""
    quiet()
    try:
        return run_command(argv)
    except UserError as error:
        print(f"Error: {harmless(error)}", file=sys.stderr)
        return 2
    except OSError as error:  # of a file that somebody named
        if error.filename is None:
            raise
        print(f"Error: {harmless(error.filename)}: {error.strerror}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the first step or after the last, where there is nothing to save
        print("Stopped.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    prepare()
    sys.exit(main())

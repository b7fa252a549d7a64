"""What a command tells whoever runs it."""

import contextlib
import io
import sys


def prepare() -> None:
    """From here on no character of a file's name can end a command, whatever the console can show."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # else a test's stand-in
            stream.reconfigure(errors="backslashreplace")


def say(*sentences: object) -> None:
    """Prints, unless nobody reads any more: the work goes on."""
    with contextlib.suppress(BrokenPipeError):
        print(*sentences, sep="\n", flush=True)

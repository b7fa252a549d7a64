"""Console output of the commands."""

import logging
import os
import sys
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any, TextIO
from unicodedata import category

from tqdm import tqdm

from ..errors import UserError
from ..pictures.photos import Bar


class _PipeTolerantStream:
    """A stream that discards its output once the pipe is closed, so that the command keeps running."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._silence()
            return len(text)

    def flush(self) -> None:
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._silence()

    def _silence(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def prepare() -> None:
    """Makes stdout and stderr tolerate unprintable file names and a closed pipe."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, _PipeTolerantStream(stream))


def quiet() -> None:
    """Hides other libraries' messages except errors, and prints our own warnings as one line each."""
    for library in ("diffusers", "transformers", "accelerate"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", module=r"training\.")
    # The documentation allows replacing this function; ty takes it for a constant.
    warnings.showwarning = lambda message, *_: print(f"Warning: {harmless(message)}", file=sys.stderr)  # ty: ignore[invalid-assignment]


def say(*sentences: object) -> None:
    """Prints each sentence on its own line."""
    for sentence in sentences:
        print(harmless(sentence), flush=True)


def harmless(sentence: object) -> str:
    """Returns text with its control characters escaped, except newlines and tabs: file names may contain any."""
    text = str(sentence)
    escapes = {
        character: character.encode("unicode_escape").decode() for character in set(text) if category(character) == "Cc"
    }
    return text.translate(str.maketrans(escapes | {"\n": "\n", "\t": "\t"}))


def progress_bar(description: str) -> Bar:
    """Returns a progress bar over images, which is shown after one second."""
    return partial(tqdm, desc=description, unit="image", delay=1)


def run(command: Callable[[], int]) -> int:
    """Runs ``command`` and returns its exit code. Prints a UserError and returns 2; returns 130 after Ctrl-C."""
    quiet()
    try:
        return command()
    except UserError as error:
        print(f"Error: {harmless(error)}", file=sys.stderr)
        return 2
    except OSError as error:  # the user named this file
        if error.filename is None:
            raise
        print(f"Error: {harmless(error.filename)}: {error.strerror}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130

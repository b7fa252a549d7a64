"""What a command tells whoever runs it."""

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


class _Unbreakable:
    """A console that goes quiet when nobody reads it any more, so that the work goes on."""

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
    """From here on neither a file's name that the console cannot show nor its end can end a command."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        stream.reconfigure(errors="backslashreplace")
        setattr(sys, name, _Unbreakable(stream))


def quiet() -> None:
    """Of other libraries' remarks only errors are shown; our own warnings are, in a line."""
    for library in ("diffusers", "transformers", "accelerate"):
        logging.getLogger(library).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    warnings.filterwarnings("always", module=r"training\.")
    # A function to be replaced, says its documentation; ty takes it for a constant.
    warnings.showwarning = lambda message, *_: print(f"Warning: {harmless(message)}", file=sys.stderr)  # ty: ignore[invalid-assignment]


def say(*sentences: object) -> None:
    """Prints, each in a line of its own."""
    for sentence in sentences:
        print(harmless(sentence), flush=True)


def harmless(sentence: object) -> str:
    """Text for a console, where what would steer it is shown as an escape: names of files are anybody's."""
    steering = {one: one.encode("unicode_escape").decode() for one in set(str(sentence)) if category(one) == "Cc"}
    return str(sentence).translate(str.maketrans(steering | {"\n": "\n", "\t": "\t"}))


def progress_bar(doing: str) -> Bar:
    """A progress bar over pictures, once that takes more than a second."""
    return partial(tqdm, desc=doing, unit="picture", delay=1)


def run(command: Callable[[], int]) -> int:
    """The exit code of ``command``. 0: done; 2: a UserError, printed; 130: stopped by Ctrl-C."""
    quiet()
    try:
        return command()
    except UserError as error:
        print(f"Error: {harmless(error)}", file=sys.stderr)
        return 2
    except OSError as error:  # of a file that the user named
        if error.filename is None:
            raise
        print(f"Error: {harmless(error.filename)}: {error.strerror}.", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130

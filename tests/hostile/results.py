"""Helpers that check what a command leaves behind: its files and its error message."""

import contextlib
import re

import pytest
from safetensors.torch import load_file

from training.errors import UserError

MAX_SENTENCES, MAX_WORDS = 3, 80  # of an error message


def assert_told(stderr, *values):
    """Asserts that ``stderr`` ends with one error message and no traceback, and that the message holds ``values``."""
    assert "Traceback" not in stderr, stderr
    _, *messages = re.split(r"(?:^|[\r\n])Error: ", stderr)
    assert len(messages) == 1, stderr
    assert_short(messages[0])
    assert_holds(messages[0], *values)


@contextlib.contextmanager
def refused(*values, error=UserError):
    """Asserts that the block raises ``error``, and that its message is short and holds ``values``.

    Yields pytest's ExceptionInfo.
    """
    with pytest.raises(error) as raised:
        yield raised
    assert_short(str(raised.value))
    assert_holds(str(raised.value), *values)


def assert_short(message):
    own = re.sub(r"\(.*\)", "", message, flags=re.DOTALL)  # libraries' reasons are quoted in parentheses
    sentences = re.findall(r"[.!?](?=\s|$)", own)
    assert len(sentences) <= MAX_SENTENCES and len(message.split()) <= MAX_WORDS, message


def assert_holds(message, *values):
    """Asserts that ``message`` names every value, so that tests do not depend on the sentences around them.

    Text may have any case, and an option's name may have hyphens or underscores. A number must stand by itself.
    A compiled pattern is searched for. Numbers within paths do not count.
    """
    for value in values:
        assert _holds(message, value), f"{getattr(value, 'pattern', value)!r} is not in: {message}"


def _holds(message, value):
    if isinstance(value, re.Pattern):
        return value.search(message)
    if isinstance(value, int | float):
        without_paths = re.sub(r"\S*/\S*", "", message)
        return re.search(rf"(?<![\w.]){re.escape(str(value))}(?!\w|\.\d)", without_paths)
    return _plain(value) in _plain(message)


def _plain(text):
    return str(text).lower().replace("-", "_")


def ended(process):
    """Waits for ``process`` and returns its exit code."""
    process.join()
    return process.exitcode


def results(folder):
    """The content of every file of a run, by name: of a subject only the weights, because its header has the time."""
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): content(path) for path in files}


def content(path):
    if path.suffix != ".safetensors":
        return path.read_bytes()
    return {name: weight.numpy().tobytes() for name, weight in load_file(path).items()}

r"""Weights of words in a prompt, written as in ComfyUI and other user interfaces.

(smiling:1.3) weighs 1.3, (smiling) weighs 1.1, ((smiling)) 1.21; \( and \) are parentheses.
"""

import math
from collections.abc import Iterator

EMPHASIS = 1.1  # of parentheses without a number
ESCAPES = {r"\(": "\0", r"\)": "\1"}  # stand for literal parentheses while the others are read


def weighted_parts(prompt: str) -> list[tuple[str, float]]:
    """Returns the parts of ``prompt`` in order, each with its weight. Unbalanced parentheses are literal."""
    for escape, stand_in in ESCAPES.items():
        prompt = prompt.replace(escape, stand_in)
    return [(_unescaped(part), weight) for part, weight in _weighted(prompt, 1.0)]


def _unescaped(text: str) -> str:
    for escape, stand_in in ESCAPES.items():
        text = text.replace(stand_in, escape[1])
    return text


def _weighted(text: str, weight: float) -> Iterator[tuple[str, float]]:
    for part in _top_level(text):
        if len(part) < 2 or part[0] != "(" or part[-1] != ")":
            yield part, weight
            continue
        words, _, number = part[1:-1].rpartition(":")
        own = _number(number) if words else None
        yield from _weighted(part[1:-1], weight * EMPHASIS) if own is None else _weighted(words, own)


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _top_level(text: str) -> Iterator[str]:
    """Yields the outermost parentheses, with what they enclose, and the text between them."""
    depth, start = 0, 0
    for index, character in enumerate(text):
        if character == "(":
            if depth == 0 and start < index:
                yield text[start:index]
                start = index
            depth += 1
        elif character == ")":
            depth -= 1
            if depth == 0:
                yield text[start : index + 1]
                start = index + 1
    if start < len(text):
        yield text[start:]

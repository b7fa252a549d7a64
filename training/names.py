"""TODO."""

import re
from pathlib import Path

from .errors import UserError


def utf8_name(path: Path) -> Path:
    """``path``, if safetensors can open it. Raises UserError otherwise."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"The name {path} is not UTF-8, and safetensors opens no such file. Rename it.") from error
    return path


def checked_name(name: str) -> str:
    """``name``, if it can name a file in a folder and nothing else. Raises UserError otherwise."""
    if re.fullmatch(r"\w[\w .-]{0,62}\w|\w", name):
        return name
    raise UserError(
        f"'{name}' cannot name a file. Use up to 64 letters, digits, spaces, dots, dashes and underscores, with a "
        "letter or digit at both ends."
    )

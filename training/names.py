"""Names that a file may have."""

import re
from pathlib import Path

from .errors import FileConflict


def utf8_name(path: Path) -> Path:
    """Returns ``path`` unchanged. Raises UserError if it is not valid UTF-8, which safetensors requires."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise FileConflict(f"The name {path} is not UTF-8, so safetensors cannot open it. Rename the file.") from error
    return path


def checked_name(name: str) -> str:
    """Returns ``name`` unchanged. Raises UserError unless it is a plain file name, without a path, on any system."""
    if re.fullmatch(r"\w[\w .-]{0,62}\w|\w", name):
        return name
    raise FileConflict(
        f"'{name}' cannot be used as a file name. Use up to 64 letters, digits, spaces, dots, dashes and underscores, "
        "with a letter or digit at both ends."
    )

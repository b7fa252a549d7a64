"""What a command will write is tried before its work, not after."""

from pathlib import Path
from typing import Any

from ..errors import UserError
from ..files import check_writable, clear_partial
from ..options import Option

_AN_HOUR = 3600.0  # seconds that no write of a living command takes


def checked(known: Option, value: Any) -> Any:
    """``value`` of an option, a folder under its full name where it was given without. Raises UserError.

    What killed commands left half written there is removed.
    """
    if known.output == "folder":
        return _own_folder(value)
    for path in (value if known.many else (value,)) if known.output else ():
        check_writable(path)
        clear_partial(path.parent, _AN_HOUR)
    return value


def _own_folder(folder: Path) -> Path:
    if folder.name in ("", ".."):  # ".", "a/..": files in it are called as it is
        folder = folder.resolve()
    if not folder.name:
        raise UserError(f"{folder} is no folder for this; give one of its own inside it.")
    check_writable(folder / f"{folder.name}.safetensors")
    clear_partial(folder, _AN_HOUR)
    return folder

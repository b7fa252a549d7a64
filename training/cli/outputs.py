"""Checks that a command can write its outputs before it starts to work."""

from pathlib import Path
from typing import Any

from ..errors import InvalidSetting
from ..files import check_writable, clear_partial
from ..options import Option

_HOUR = 3600.0  # s; no write of a running command takes this long


def checked(option: Option, value: Any) -> Any:
    """Returns the option's ``value``; an output folder such as "." is resolved, so that it has a name.

    Also removes partial files that killed commands left there. Raises UserError if an output cannot be written.
    """
    if option.output == "folder":
        return _named_folder(value)
    for path in (value if option.many else (value,)) if option.output else ():
        check_writable(path)
        clear_partial(path.parent, _HOUR)
    return value


def _named_folder(folder: Path) -> Path:
    if folder.name in ("", ".."):  # ".", "a/..": the files inside are named after the folder
        folder = folder.resolve()
    if not folder.name:
        raise InvalidSetting(f"{folder} cannot be the output folder. Give a folder inside it.")
    check_writable(folder / f"{folder.name}.safetensors")
    clear_partial(folder, _HOUR)
    return folder

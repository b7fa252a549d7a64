"""Checks that a command can write its outputs, and harms no file of the user's, before it starts to work."""

from collections.abc import Iterable, Mapping
from os.path import samestat
from pathlib import Path
from typing import Any

from ..errors import FileConflict, InvalidSetting
from ..files import check_replaceable, check_writable, clear_partial
from ..options import Option

_HOUR = 3600.0  # s; no write of a running command takes this long


def checked(option: Option, value: Any) -> Any:
    """Returns the option's ``value``; an output folder such as "." is resolved, so that it has a name.

    Also removes partial files that killed commands left there. Raises UserError if an output cannot be written, or a
    file would be replaced that this program did not write. Commands check the files that they write into a folder.
    """
    if option.output == "folder":
        return _named_folder(value)
    for path in (value if option.many else (value,)) if option.output else ():
        check_writable(path)
        check_replaceable(path)
        clear_partial(path.parent, _HOUR)
    return value


def check_apart(values: Mapping[Option, Any]) -> None:
    """Raises FileConflict if an output among ``values``, a command's options, is an input or lies inside one."""
    paths = [
        (option, path)
        for option, value in values.items()
        if option.kind is Path and value is not None
        for path in (value if option.many else (value,))
    ]
    inputs = [(option.flag, path) for option, path in paths if not option.output]
    for option, path in paths:
        if option.output:
            check_outside(path, option.flag, inputs)


def check_outside(output: Path, what: str, inputs: Iterable[tuple[str, Path]]) -> None:
    """Raises FileConflict if ``output``, which the message calls ``what``, is one of the named ``inputs`` or inside."""
    output = output.resolve()
    around = [place.stat() for place in (output, *output.parents) if place.exists()]
    for name, path in inputs:
        if path.exists() and any(samestat(path.stat(), place) for place in around):
            raise FileConflict(
                f"{what} {output} is {name} {path} or lies inside it, so results would mix with what they are made "
                "from. Choose a place outside it."
            )


def visible_files(*folders: Path) -> list[Path]:
    """Returns all files in ``folders`` that are not hidden."""
    return [
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and not path.name.startswith(".")
    ]


def _named_folder(folder: Path) -> Path:
    if folder.name in ("", ".."):  # ".", "a/..": the files inside are named after the folder
        folder = folder.resolve()
    if not folder.name:
        raise InvalidSetting(f"{folder} cannot be the output folder. Give a folder inside it.")
    check_writable(folder / f"{folder.name}.safetensors")
    clear_partial(folder, _HOUR)
    return folder

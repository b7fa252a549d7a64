"""Reads a table with one row per subject: .csv with a header, or .toml or .json with one table per subject."""

import csv
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..errors import DamagedFile, InvalidData, InvalidSetting, MissingFile, MissingInput
from ..names import checked_name
from ..options import Option

NAME = "name"  # the column of a .csv that names the subject
SUFFIXES = (".csv", ".toml", ".json")
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def read_table(path: Path, columns: Sequence[Option]) -> dict[str, dict[str, Any]]:
    """Returns the option values of each row, by subject and option name; empty cells and null are left out.

    Relative paths start at the table's folder. Raises UserError for a table that cannot be read, an unknown column
    or a value of the wrong type.
    """
    if not path.is_file():
        raise MissingFile(f"There is no table {path}.")
    options = {column.name: column for column in columns}
    rows: dict[str, dict[str, Any]] = {}
    taken: set[str] = set()
    folder = path.parent.resolve()
    try:
        named_cells = list(_rows(path))
    except (ValueError, csv.Error) as error:  # includes text in another encoding
        raise DamagedFile(f"{path} cannot be read: {error}. Save it as UTF-8 text.") from error
    for name, cells in named_cells:
        location = f"{path}, {name}"
        if checked_name(name).casefold() in taken:  # many file systems ignore case
            raise InvalidData(f"{location}: two rows have this name. Names that differ only in case count as equal.")
        taken.add(name.casefold())
        given = {key: cell for key, cell in cells.items() if cell is not None and str(cell).strip()}
        if unknown := given.keys() - options.keys():
            raise InvalidData(f"{location}: unknown option {sorted(unknown)[0]}. Columns are: {', '.join(options)}.")
        rows[name] = {key: _value(options[key], value, folder, location) for key, value in given.items()}
    if not rows:
        raise InvalidData(f"{path} has no rows.")
    return rows


def _rows(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    """Yields each name with its cells. Raises UserError if the content does not match the file's suffix."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        yield from _csv_rows(path)
        return
    if suffix not in SUFFIXES:
        raise InvalidSetting(f"{path} must end in one of {', '.join(SUFFIXES)}.")
    if suffix == ".toml":
        table = _toml(path)
    else:
        table = json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=partial(_unique, source=str(path)))
    if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
        raise InvalidData(f"{path} must contain one table of options per subject, under the subject's name.")
    for name, row in table.items():
        yield name, _unique([(key.replace("-", "_"), value) for key, value in row.items()], f"{path}, {name}")


def _csv_rows(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        names = [column.strip().replace("-", "_") for column in reader.fieldnames or ()]
        columns = [name or f"column {number}" for number, name in enumerate(names, 1)]  # spreadsheets add empty ones
        _unique([(column, None) for column in columns], f"{path}, line 1")
        reader.fieldnames = columns
        for row in reader:
            if None in row:
                raise InvalidData(f"{path}, line {reader.line_num}: more cells than columns.")
            name = (row.pop(NAME, None) or "").strip()
            if not name:
                raise InvalidData(f"{path}, line {reader.line_num}: no name. Fill in the column '{NAME}'.")
            yield name, row


def _unique(pairs: Sequence[tuple[str, Any]], source: str) -> dict[str, Any]:
    """Returns ``pairs`` as a dict. Raises InvalidData for a key that ``source`` has twice."""
    twice = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
    if twice:
        raise InvalidData(f"{source}: '{twice[0]}' is there twice. Keep one of them.")
    return dict(pairs)


def _toml(path: Path) -> dict[str, Any]:
    try:
        import tomllib  # ty: ignore[import-not-found]
    except ImportError as error:
        raise MissingInput(f"{path} needs Python 3.11 or newer. Write the table as .csv or .json instead.") from error
    return tomllib.loads(path.read_text(encoding="utf-8-sig"))


def _value(option: Option, given: Any, folder: Path, location: str) -> Any:
    """Converts ``given``, text or a value from .toml or .json, to the option's type."""
    if option.many:
        values = given if isinstance(given, list) else str(given).split()
        return tuple(_single_value(option, value, folder, location) for value in values)
    return _single_value(option, given, folder, location)


def _single_value(option: Option, given: Any, folder: Path, location: str) -> Any:
    text = str(given).strip()
    try:
        if option.kind is bool:
            return _WORDS[text.lower()]
        return folder / text if option.kind is Path else option.kind(text)
    except (ValueError, KeyError) as error:
        kinds: dict[type, str] = {int: "a whole number", float: "a number", bool: "on or off"}
        raise InvalidData(f"{location}: {option.name} is '{text}'; it must be {kinds[option.kind]}.") from error

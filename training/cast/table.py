"""A table with a row a subject: .csv with a header, or .toml and .json with a table a subject."""

import csv
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError
from ..names import checked_name
from ..options import Option

NAME = "name"  # the column of a .csv that names the subject
SUFFIXES = (".csv", ".toml", ".json")
_WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def read_table(path: Path, columns: Sequence[Option]) -> dict[str, dict[str, Any]]:
    """The values that each row gives, by option, by subject; an empty cell, or null, gives none.

    Relative paths start at the table's folder. Raises UserError for a table that cannot be read, an unknown column
    or a value that is none of its kind.
    """
    if not path.is_file():
        raise UserError(f"There is no table {path}.")
    known = {column.name: column for column in columns}
    rows: dict[str, dict[str, Any]] = {}
    try:
        found = list(_rows(path))
    except (ValueError, csv.Error) as error:  # text in another encoding too
        raise UserError(f"{path} cannot be read: {error}. Save it as UTF-8 text.") from error
    for name, cells in found:
        where = f"{path}, {name}"
        if checked_name(name).casefold() in map(str.casefold, rows):  # to many disks they are one folder
            raise UserError(f"{where}: there are two rows of that name, in whatever case.")
        given = {key: cell for key, cell in cells.items() if cell is not None and str(cell).strip()}
        if strangers := given.keys() - known.keys():
            raise UserError(f"{where}: there is no option {sorted(strangers)[0]}. Columns are: {', '.join(known)}.")
        rows[name] = {key: _value(known[key], value, path.parent, where) for key, value in given.items()}
    if not rows:
        raise UserError(f"{path} has no rows.")
    return rows


def _rows(path: Path) -> Iterable[tuple[str, dict[str, Any]]]:
    """Names with what is given; raises UserError where the file is not of the form that its suffix says."""
    suffix = path.suffix.lower()
    if suffix == ".csv":
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey="")
            for row in reader:
                if "" in row:
                    raise UserError(f"{path}, line {reader.line_num}: there are more cells than columns.")
                name = (row.pop(NAME, None) or "").strip()
                if not name:
                    raise UserError(f"{path}, line {reader.line_num}: there is no name. The column is called '{NAME}'.")
                yield name, {key.strip().replace("-", "_"): cell for key, cell in row.items()}
        return
    if suffix not in SUFFIXES:
        raise UserError(f"{path} must end in one of {', '.join(SUFFIXES)}.")
    table = _toml(path) if suffix == ".toml" else json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(table, dict) or not all(isinstance(row, dict) for row in table.values()):
        raise UserError(f"{path} must hold a table of options for each subject, under the subject's name.")
    for name, row in table.items():
        yield name, {key.replace("-", "_"): value for key, value in row.items()}


def _toml(path: Path) -> dict[str, Any]:
    try:
        import tomllib  # ty: ignore[import-not-found]
    except ImportError as error:
        raise UserError(f"{path} needs Python 3.11 or newer; write the table as .csv or .json.") from error
    return tomllib.loads(path.read_text(encoding="utf-8-sig"))


def _value(known: Option, given: Any, folder: Path, where: str) -> Any:
    """What ``given``, text or a value of a .toml or .json, is for the option."""
    if known.many:
        values = given if isinstance(given, list) else str(given).split()
        return tuple(_one(known, one, folder, where) for one in values)
    return _one(known, given, folder, where)


def _one(known: Option, given: Any, folder: Path, where: str) -> Any:
    text = str(given).strip()
    try:
        if known.kind is bool:
            return _WORDS[text.lower()]
        return folder.resolve() / text if known.kind is Path else known.kind(text)
    except (ValueError, KeyError) as error:
        kinds: dict[type, str] = {int: "a whole number", float: "a number", bool: "on or off"}
        raise UserError(f"{where}: {known.name} is '{text}'; it must be {kinds[known.kind]}.") from error

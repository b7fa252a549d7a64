"""What a cast checks before it works: that no file is lost, and what each subject was made from."""

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from ..cast.entry import FAILED, FILE, FINISHED, Entry, read_entry
from ..cast.inputs import contents
from ..cast.page import LOG, PAGE, TABLE, names_in
from ..errors import FileConflict, MissingFile, RunMismatch, UserError
from ..files import check_replaceable
from ..options import Option, options_of
from ..runs.lease import LEASE
from .cast_job import COLUMNS, EvaluationOptions, Job
from .outputs import check_outside
from .train import RESERVED

# Not names of subjects, because a cast or a subject's folder has other files called so.
_RESERVED = re.compile(
    "|".join([re.escape(TABLE), re.escape(PAGE), re.escape(LEASE), "ages|cast|report", RESERVED]), re.I
)


def check_out(out: Path, names: Collection[str]) -> None:
    """Raises FileConflict if the cast would replace or lose something in ``out``."""
    for name in names:
        if _RESERVED.fullmatch(name):
            raise FileConflict(f"A subject cannot be called {name}, because a cast has other files of that name.")
    check_replaceable(out / TABLE, out / PAGE)
    if others := sorted(set(names_in(out)) - set(names)):
        more = f" and {len(others) - 1} more subjects" if others[1:] else ""
        raise FileConflict(
            f"{out} holds a cast with {others[0]}{more}, which the table does not have. Choose another --out, add them "
            f"to the table, or delete {out / TABLE} to leave them out of the page."
        )


def entry_of(job: Job) -> Entry:
    """The subject's entry; a ``broken`` one with the reason if its files cannot be used, which costs no other one."""
    try:
        check_outside(job.folder, "The folder", [(name, path) for name, path in job.paths.items() if path])
        entry = read_entry(job.folder)
        if not (job.folder / FILE).exists():
            _check_empty(job.folder)
        if entry.state == FINISHED:
            _check_complete(entry, job)
    except UserError as error:
        return Entry(job.folder, FAILED, sentence=str(error), broken=True)
    except OSError as error:
        return Entry(job.folder, FAILED, sentence=f"{error.filename}: {error.strerror}.", broken=True)
    return entry


def _check_empty(folder: Path) -> None:
    present = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    foreign = [name for name in present if not name.startswith(".") and name != LOG]
    if foreign:
        raise FileConflict(
            f"{folder} was not written by a cast; it holds {foreign[0]}. Give the row another name, or choose another "
            "--out."
        )


def _check_complete(entry: Entry, job: Job) -> None:
    """Raises MissingFile if a finished subject is gone, or what it was made from, so that it cannot be compared."""
    file = job.files.subject
    if not file.is_file():
        raise MissingFile(f"{entry.name} was finished, but {file} is gone. Restore it, or delete {entry.folder}.")
    for name in entry.inputs:
        path = job.paths[name]
        if path and not path.exists():
            raise MissingFile(
                f"{entry.name} was finished, but its {name} {path} is gone. Restore it, or take the row out of the "
                "table."
            )


def done(entry: Entry, job: Job) -> bool:
    """Whether the subject is finished. Raises RunMismatch if it was trained or finished with something else."""
    over = entry.state == FINISHED
    if not over and not job.files.subject.is_file():
        return False  # its saved state, if any, is compared on resuming
    evaluated = {option.name for option in options_of(EvaluationOptions)}
    compared = [column for column in COLUMNS if over or column.name not in evaluated]
    if changed := _changes(entry, job, compared):
        raise RunMismatch(
            f"{entry.name} was made with other options ({'; '.join(changed)}). Give the row another name, or "
            f"delete {entry.folder}."
        )
    return over


def _changes(entry: Entry, job: Job, columns: Iterable[Option]) -> list[str]:
    """The differences between ``entry`` and ``job`` in words. Options that are not saved had their default."""
    changed, names = [], {column.name for column in columns}
    for column in columns if entry.options else ():
        now = job.options.get(column.name)
        before = entry.options.get(column.name, str(column.default))
        if now is not None and before != now:
            changed.append(f"{column.name} was {before}, now {now}")
    now = contents(job.paths) if entry.inputs else {}
    for name in sorted(names & (entry.inputs.keys() | now.keys())):
        if entry.inputs.get(name) != now.get(name):
            changed.append(f"{name} has another content, now {job.paths[name] or 'not given'}")
    return changed

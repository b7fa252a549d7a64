"""Progress and result of one subject of a cast, saved beside its run so that any process can continue it."""

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import DamagedFile, MissingFile, UserError
from ..files import written
from ..records import finite, from_json, read_json

FILE = "cast.json"
EVERY = 2.0  # s between saves during a run

WAITING, TRAINING, DRAWING, SCORING = "waiting", "training", "drawing", "scoring"
FINISHED, FAILED = "finished", "failed"
RUNNING = (TRAINING, DRAWING, SCORING)
STATES = (WAITING, *RUNNING, FINISHED, FAILED)

UNSAVED = ("folder", "saved", "broken")  # fields


@dataclass
class Summary:
    """What the table and the page need from the report of a finished subject."""

    images: int
    failures_to_detect: int
    memorised: int
    mean_similarity: float | None = None
    leave_one_out_similarity: float | None = None
    ages_right: float | None = None
    fmr: float | None = None
    matched: float | None = None  # share that matches at ``fmr``


@dataclass
class Entry:
    """Progress and result of one subject."""

    folder: Path
    state: str = WAITING
    step: int = 0
    steps: int = 0
    starts: int = 0  # how often a process started or resumed it
    node: str = ""  # machine of the latest start
    pid: int = 0  # process of the latest start
    seconds: float = 0.0  # over all starts
    sentence: str = ""  # why it failed
    options: dict[str, Any] = field(default_factory=dict)  # of the latest start: those that change the result
    inputs: dict[str, str] = field(default_factory=dict)  # of the latest start, by content; see inputs.contents
    summary: dict[str, Any] = field(default_factory=dict)  # from its report
    saved: float = field(default=0.0, repr=False)  # time.monotonic() of the last save in this process
    broken: bool = field(default=False, repr=False)  # its folder cannot be used: the state is not saved there

    @property
    def name(self) -> str:
        """The subject's name, which is its folder's."""
        return self.folder.name

    @property
    def retries(self) -> int:
        """How often it was restarted, by the queue or by hand."""
        return max(0, self.starts - 1)

    def save(self, **changes: Any) -> None:
        """Applies ``changes`` and saves the entry."""
        for key, value in changes.items():
            setattr(self, key, value)
        content = {key: value for key, value in asdict(self).items() if key not in UNSAVED}
        with written(self.folder / FILE) as temporary:
            temporary.write_text(json.dumps(finite(content), indent=1))
        self.saved = time.monotonic()

    def progress(self, step: int, seconds: float) -> None:
        """Records a step, and saves the entry every few seconds."""
        self.step, self.seconds = step, seconds
        if time.monotonic() - self.saved > EVERY:
            self.save()


def read_entry(folder: Path) -> Entry:
    """Returns the entry of the subject in ``folder``, or a waiting one if none was saved.

    Raises UserError if the saved one cannot be read or is damaged.
    """
    file = folder / FILE
    try:
        content = read_json(file)
    except MissingFile:
        return Entry(folder)
    if isinstance(content, dict):
        content = {key: value for key, value in content.items() if key not in UNSAVED} | {"folder": folder}
    try:
        entry = from_json(Entry, content, str(file))
        if entry.state not in STATES:
            raise DamagedFile(f"{file} is damaged: '{entry.state}' is no state.")
        if entry.state == FINISHED:
            from_json(Summary, entry.summary, f"The summary in {file}")
    except DamagedFile as error:
        raise DamagedFile(f"{error} Delete it to run this subject again.") from error
    return entry


def read_again(entry: Entry) -> Entry:
    """Returns the entry as saved now, or ``entry`` itself if its folder cannot be used."""
    if entry.broken:
        return entry
    try:
        return read_entry(entry.folder)
    except UserError:  # such as a disk that is away for a moment
        return entry

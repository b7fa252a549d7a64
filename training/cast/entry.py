"""Progress and result of one subject of a cast, saved beside its run so that any process can continue it."""

import json
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..files import written
from ..records import finite, read_json

FILE = "cast.json"
EVERY = 2.0  # s between saves during a run

WAITING, TRAINING, DRAWING, SCORING = "waiting", "training", "drawing", "scoring"
FINISHED, FAILED = "finished", "failed"
RUNNING = (TRAINING, DRAWING, SCORING)


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
    options: dict[str, Any] = field(default_factory=dict)  # with which it was finished
    summary: dict[str, Any] = field(default_factory=dict)  # from its report
    saved: float = field(default=0.0, repr=False)  # time.monotonic() of the last save in this process

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
        content = {key: value for key, value in asdict(self).items() if key not in ("folder", "saved")}
        with written(self.folder / FILE) as temporary:
            temporary.write_text(json.dumps(finite(content), indent=1))
        self.saved = time.monotonic()

    def progress(self, step: int, seconds: float) -> None:
        """Records a step, and saves the entry every few seconds."""
        self.step, self.seconds = step, seconds
        if time.monotonic() - self.saved > EVERY:
            self.save()


def read_entry(folder: Path) -> Entry:
    """Returns the entry of the subject in ``folder``, or a waiting one if none was saved."""
    file = folder / FILE
    if not file.is_file():
        return Entry(folder)
    content = read_json(file)
    names = {entry_field.name for entry_field in fields(Entry)}
    return Entry(folder, **{key: value for key, value in content.items() if key in names})

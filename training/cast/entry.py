"""What is known of one subject of a cast. It lies beside the subject's run, so that any process can go on with it."""

import json
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..files import written
from ..records import finite, read_json

FILE = "cast.json"
EVERY = 2.0  # s between two writings while a run goes on

WAITING, TRAINING, DRAWING, SCORING = "waiting", "training", "drawing", "scoring"
FINISHED, FAILED = "finished", "failed"
RUNNING = (TRAINING, DRAWING, SCORING)


@dataclass
class Entry:
    """One subject: where it stands, and what came out of it."""

    folder: Path
    state: str = WAITING
    step: int = 0
    steps: int = 0
    starts: int = 0  # how often a process began or went on with it
    node: str = ""  # of the latest,
    pid: int = 0  # and its process
    seconds: float = 0.0  # of all of them
    sentence: str = ""  # why it failed
    options: dict[str, Any] = field(default_factory=dict)  # that it was finished with
    summary: dict[str, Any] = field(default_factory=dict)  # of its report
    saved: float = field(default=0.0, repr=False)  # by time.monotonic() of this process

    @property
    def name(self) -> str:
        """The subject's."""
        return self.folder.name

    @property
    def retries(self) -> int:
        """How often it was begun again, by the queue or by people."""
        return max(0, self.starts - 1)

    def save(self, **changes: Any) -> None:
        """Writes it with ``changes``."""
        for key, value in changes.items():
            setattr(self, key, value)
        kept = {key: value for key, value in asdict(self).items() if key not in ("folder", "saved")}
        with written(self.folder / FILE) as temporary:
            temporary.write_text(json.dumps(finite(kept), indent=1))
        self.saved = time.monotonic()

    def progress(self, step: int, seconds: float) -> None:
        """Notes a step, and writes it now and then."""
        self.step, self.seconds = step, seconds
        if time.monotonic() - self.saved > EVERY:
            self.save()


def read_entry(folder: Path) -> Entry:
    """That of the subject in ``folder``; a waiting one where nothing is known."""
    file = folder / FILE
    if not file.is_file():
        return Entry(folder)
    kept = read_json(file)
    names = {one.name for one in fields(Entry)}
    return Entry(folder, **{key: value for key, value in kept.items() if key in names})

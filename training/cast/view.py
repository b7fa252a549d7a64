"""A cast in the terminal while it runs: a bar for all, and one for each subject at work. Their entries tell it."""

import contextlib
import sys
import threading
import time
from pathlib import Path
from types import TracebackType

from tqdm import tqdm

from ..errors import UserError
from . import page
from .entry import FAILED, FINISHED, RUNNING, Entry, read_entry

EVERY = 2.0  # s between two readings of the entries


class View:
    """Shows the subjects in ``folders``, and keeps their table and page in ``out``, until it is left."""

    def __init__(self, out: Path, folders: list[Path]):
        self.out = out
        self.entries = {folder: read_entry(folder) for folder in folders}
        self._file = sys.stderr  # as it is now: a subject at work in this process has another
        self._bars: dict[Path, tqdm] = {}
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "View":
        ended = sum(self._ended(entry) for entry in self.entries.values())
        self._all = tqdm(total=len(self.entries), initial=ended, unit="subject", file=self._file, disable=None)
        self._write()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._left.set()
        self._thread.join()
        self.refresh()
        for bar in (*self._bars.values(), self._all):
            bar.close()

    def refresh(self) -> None:
        """Reads the entries of all who have not ended, and shows what has changed; steps as often as a page is read."""
        changed = False
        for folder, before in self.entries.items():
            if self._ended(before):
                continue
            entry = self.entries[folder] = read_entry(folder)
            changed |= entry.state != before.state
            self._show(folder, entry)
        self._all.set_postfix_str(page.tally(list(self.entries.values())))
        if changed or time.monotonic() - self._written > page.REFRESH:
            self._write()

    def _write(self) -> None:
        page.write(self.out, list(self.entries.values()))
        self._written = time.monotonic()

    def _watch(self) -> None:
        while not self._left.wait(EVERY):
            with contextlib.suppress(UserError):  # a disk that is full or away for now; leaving tries it once more
                self.refresh()

    def _show(self, folder: Path, entry: Entry) -> None:
        bar = self._bars.get(folder)
        if entry.state in RUNNING:
            if not bar:
                bar = self._bars[folder] = tqdm(unit="step", leave=False, file=self._file, disable=None)
            bar.total = entry.steps or None
            bar.set_description(f"{entry.name} {entry.state} on {entry.node}", refresh=False)
            bar.n = entry.step
            bar.refresh()
        elif bar:
            self._bars.pop(folder).close()
        if self._ended(entry):
            self._all.update()
            tqdm.write(f"{entry.name}: {entry.state}. {page.verdict(entry)}", file=self._file)

    @staticmethod
    def _ended(entry: Entry) -> bool:
        return entry.state in (FINISHED, FAILED)

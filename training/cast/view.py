"""Shows a running cast in the terminal: one bar for the cast and one per running subject, from their entries."""

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

EVERY = 2.0  # s between reads of the entries


class View:
    """A context manager that shows the subjects in ``folders`` and updates their table and page in ``out``."""

    def __init__(self, out: Path, folders: list[Path]):
        self.out = out
        self.entries = {folder: read_entry(folder) for folder in folders}
        self._file = sys.stderr  # kept, as a subject in this process redirects it
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
        """Shows changed entries; rewrites the page if a state changed or REFRESH seconds have passed."""
        changed = False
        for folder, previous in self.entries.items():
            if self._ended(previous):
                continue
            entry = self.entries[folder] = read_entry(folder)
            changed |= entry.state != previous.state
            self._show(folder, entry)
        self._all.set_postfix_str(page.tally(list(self.entries.values())))
        if changed or time.monotonic() - self._written > page.REFRESH:
            self._write()

    def _write(self) -> None:
        page.write(self.out, list(self.entries.values()))
        self._written = time.monotonic()

    def _watch(self) -> None:
        while not self._left.wait(EVERY):
            with contextlib.suppress(UserError):  # a full or missing disk may come back; __exit__ tries once more
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

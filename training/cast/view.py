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
from .entry import FAILED, FINISHED, RUNNING, Entry, read_again

EVERY = 2.0  # s between reads of the entries


class View:
    """A context manager that shows the subjects of ``entries``, by name, and updates their table and page in ``out``.

    It replaces each entry by what is saved; the cast may replace an entry too.
    """

    def __init__(self, out: Path, entries: dict[str, Entry]):
        self.out, self.entries = out, entries
        self._over = {name for name, entry in entries.items() if self._ended(entry)}
        self._file = sys.stderr  # kept, as a subject in this process redirects it
        self._bars: dict[str, tqdm] = {}
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "View":
        count, over = len(self.entries), len(self._over)
        self._all = tqdm(total=count, initial=over, unit="subject", file=self._file, disable=None)
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
        for name, previous in self.entries.items():
            if name in self._over:
                continue
            entry = read_again(previous)
            if self.entries[name] is previous:
                self.entries[name] = entry
            changed |= entry.state != previous.state
            self._show(name, entry)
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

    def _show(self, name: str, entry: Entry) -> None:
        bar = self._bars.get(name)
        if entry.state in RUNNING:
            if not bar:
                bar = self._bars[name] = tqdm(unit="step", leave=False, file=self._file, disable=None)
            bar.total = entry.steps or None
            bar.set_description(f"{entry.name} {entry.state} on {entry.node}", refresh=False)
            bar.n = entry.step
            bar.refresh()
        elif bar:
            self._bars.pop(name).close()
        if self._ended(entry):
            self._over.add(name)
            self._all.update()
            tqdm.write(f"{entry.name}: {entry.state}. {page.verdict(entry)}", file=self._file)

    @staticmethod
    def _ended(entry: Entry) -> bool:
        return entry.state in (FINISHED, FAILED)

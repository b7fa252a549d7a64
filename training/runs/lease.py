"""One writer per run: a lease on its folder, renewed while the process lives."""

import contextlib
import os
import time
from collections.abc import Callable, Generator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import FileConflict, Unavailable

if TYPE_CHECKING:
    from filelock import SoftFileLease

LEASE = "training.lease"
HEARTBEAT = 5.0  # s between renewals
DURATION = 30.0  # s without renewal after which a lease from another machine expires
GLANCE = 1.0  # s between two looks at a lease that cannot be read: it may just be written, or moved for a moment

Hold = Callable[[], None]  # raises LeaseLost if another process has taken over the run


class RunIsTaken(Unavailable):
    """Another process trains in this folder."""


class LeaseLost(Unavailable):
    """The lease of this process, which stopped renewing it, is gone or belongs to another process."""


@contextlib.contextmanager
def leased(folder: Path, tell: Callable[[str], None]) -> Generator[Hold, None, None]:
    """Reserves ``folder`` for this process, also on shared storage; creates it if it does not exist.

    Takes over from a process of this machine that has ended at once, and from another machine's after DURATION without
    renewal by this machine's clock; ``tell`` reports both. Raises RunIsTaken if the holder is alive, and FileConflict
    if the lease's name belongs to another file. Call what is yielded before each write: a process that was suspended
    may have lost its lease.
    """
    from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lease = SoftFileLease(folder / LEASE, lease_duration=DURATION, heartbeat_interval=HEARTBEAT)
    _check_readable(lease, tell)
    before = _seen(lease)
    try:
        lease.acquire(blocking=False)
    except Timeout:
        tell(f"{folder} is in use by {before or 'another process'}. Waiting up to {DURATION:.0f} s for it to respond.")
        try:
            lease.acquire(DURATION + HEARTBEAT, cancel_check=lambda: _seen(lease) not in (before, None))
        except Timeout:
            raise RunIsTaken(
                f"{folder} is in use by {_seen(lease) or before or 'another process'}, which is training. Wait until "
                "it ends, stop it, or use another folder."
            ) from None
    except LeaseSettingsMismatch as error:
        raise RunIsTaken(
            f"{folder / LEASE} was written by another program or version: {before}. Wait until it ends, or delete that "
            "file."
        ) from error
    if before:
        tell(f"Took over {folder} from {before}.")
    token = lease.token

    def hold() -> None:
        now = _seen_twice(lease)
        if now is None:
            raise LeaseLost(
                f"{folder / LEASE} is gone: another process took over after this one stopped responding, and ended. "
                "This process writes nothing more. Use the results there, or repeat the command to continue from them."
            )
        if now.token != token:
            raise LeaseLost(
                f"{now} took over {folder} after this process stopped responding. This process writes nothing more; "
                "the run continues there."
            )

    try:
        yield hold
    finally:
        lease.release()
        if made:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()


class _Seen(NamedTuple):
    """A holder's latest renewal."""

    host: str
    pid: int
    token: str | None
    when: float  # by the storage's clock

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.when).astimezone().isoformat(" ", "seconds")
        return f"process {self.pid} on {self.host} (last seen {when})"


def _seen(lease: "SoftFileLease") -> _Seen | None:
    owner = lease.owner
    try:
        when = Path(lease.lock_file).stat().st_mtime
    except OSError:
        return None
    # filelock appends the container's id after a question mark.
    return _Seen(owner.hostname.partition("?")[0], owner.pid, owner.token, when) if owner else None


def _seen_twice(lease: "SoftFileLease") -> _Seen | None:
    """The holder; if the lease cannot be read, looks again a moment later."""
    seen = _seen(lease)
    if seen is None:
        time.sleep(GLANCE)
        seen = _seen(lease)
    return seen


def _check_readable(lease: "SoftFileLease", tell: Callable[[str], None]) -> None:
    """Deletes an empty lease, which a crash or a full disk leaves. Raises FileConflict for a file that is no lease."""
    file = Path(lease.lock_file)
    if not os.path.lexists(file) or _seen_twice(lease) or not os.path.lexists(file):
        return
    if not file.is_file() or file.is_symlink() or file.stat().st_size:
        raise FileConflict(
            f"{file} has the name that reserves this folder for one process, but is another file. Move it, or use "
            "another folder."
        )
    file.unlink()
    tell(f"Deleted {file}: it is empty, so the process that wrote it crashed.")

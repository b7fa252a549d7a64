"""One writer per run: a lease on its folder, renewed while the process lives."""

import contextlib
import os
import stat
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

    If the previous holder is a dead process on this machine, takes over at once; if it is on another machine, after
    DURATION without a renewal by this machine's clock. ``tell`` reports both. Raises RunIsTaken if the holder is alive,
    and FileConflict if another file has the lease's name. Call the yielded function before each write: a process that
    was suspended may have lost its lease.
    """
    from filelock import LeaseSettingsMismatch, SoftFileLease, Timeout

    created = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lease = SoftFileLease(folder / LEASE, lease_duration=DURATION, heartbeat_interval=HEARTBEAT)
    _check_readable(lease, tell)
    previous = _read_holder(lease)
    try:
        lease.acquire(blocking=False)
    except Timeout:
        holder = previous or "another process"
        tell(f"{folder} is in use by {holder}. Waiting up to {DURATION:.0f} s for it to respond.")
        try:
            lease.acquire(DURATION + HEARTBEAT, cancel_check=lambda: _read_holder(lease) not in (previous, None))
        except Timeout:
            holder = _read_holder(lease) or holder
            raise RunIsTaken(
                f"{folder} is in use by {holder}, which is training. Wait until it ends, stop it, or use "
                "another folder."
            ) from None
    except LeaseSettingsMismatch as error:
        raise RunIsTaken(
            f"{folder / LEASE} was written by another program or version: {previous}. Wait until it ends, or delete "
            "that file."
        ) from error
    if previous:
        tell(f"Took over {folder} from {previous}.")
    token = lease.token

    def hold() -> None:
        current = _read_holder_twice(lease)
        if current is None:
            raise LeaseLost(
                f"{folder / LEASE} is gone: another process took over after this one stopped responding, and ended. "
                "This process writes nothing more. Use the results there, or repeat the command to continue from them."
            )
        if current.token != token:
            raise LeaseLost(
                f"{current} took over {folder} after this process stopped responding. This process writes nothing "
                "more; the run continues there."
            )

    try:
        yield hold
    finally:
        lease.release()
        if created:
            with contextlib.suppress(OSError):  # not empty
                folder.rmdir()


class _Holder(NamedTuple):
    """The process that holds a lease, and when it last renewed it."""

    host: str
    pid: int
    token: str | None
    when: float  # by the storage's clock

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.when).astimezone().isoformat(" ", "seconds")
        return f"process {self.pid} on {self.host} (last seen {when})"


def _read_holder(lease: "SoftFileLease") -> _Holder | None:
    """The current holder; None if there is none."""
    owner = lease.owner
    try:
        when = Path(lease.lock_file).stat().st_mtime
    except OSError:
        return None
    # filelock appends the container's id after a question mark.
    return _Holder(owner.hostname.partition("?")[0], owner.pid, owner.token, when) if owner else None


def _read_holder_twice(lease: "SoftFileLease") -> _Holder | None:
    """The holder; if the lease cannot be read, looks again a moment later."""
    holder = _read_holder(lease)
    if holder is None:
        time.sleep(GLANCE)
        holder = _read_holder(lease)
    return holder


def _check_readable(lease: "SoftFileLease", tell: Callable[[str], None]) -> None:
    """Deletes an empty lease, which a crash or a full disk leaves. Raises FileConflict for a file that is no lease."""
    file = Path(lease.lock_file)
    if not os.path.lexists(file) or _read_holder_twice(lease):
        return
    try:
        status = file.lstat()
    except FileNotFoundError:  # it has been released meanwhile
        return
    if status.st_size or not stat.S_ISREG(status.st_mode):
        raise FileConflict(
            f"{file} has the name that reserves this folder for one process, but is another file. Move it, or use "
            "another folder."
        )
    file.unlink(missing_ok=True)
    tell(f"Deleted {file}: it is empty, so the process that wrote it crashed.")

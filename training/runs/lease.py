"""One writer per run: a lease on its folder, renewed while the process lives."""

import contextlib
from collections.abc import Callable, Generator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import Unavailable

if TYPE_CHECKING:
    from filelock import SoftFileLease

LEASE = "training.lease"
HEARTBEAT = 5.0  # s between renewals
DURATION = 30.0  # s without renewal after which a lease from another machine expires

Hold = Callable[[], None]  # raises LeaseLost if another process has taken over the run


class RunIsTaken(Unavailable):
    """Another process trains in this folder."""


class LeaseLost(Unavailable):
    """Another process took over the folder after this one stopped renewing its lease."""


@contextlib.contextmanager
def leased(folder: Path, tell: Callable[[str], None]) -> Generator[Hold, None, None]:
    """Reserves ``folder`` for this process, also on shared storage; creates it if it does not exist.

    Takes over from a process of this machine that has ended at once, and from another machine's after DURATION without
    renewal by this machine's clock; ``tell`` reports both. Raises RunIsTaken if the holder is alive. Call what is
    yielded before each write: a process that was suspended may have lost its lease.
    """
    from filelock import SoftFileLease, Timeout

    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lease = SoftFileLease(folder / LEASE, lease_duration=DURATION, heartbeat_interval=HEARTBEAT)
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
    if before:
        tell(f"Took over {folder} from {before}.")
    token = lease.token

    def hold() -> None:
        now = _seen(lease)
        if now and now.token != token:
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

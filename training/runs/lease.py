"""One writer a run: who holds its folder, and when they were last seen."""

import contextlib
from collections.abc import Callable, Generator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import Unavailable

if TYPE_CHECKING:
    from filelock import SoftFileLease

LEASE = "training.lease"
HEARTBEAT = 5.0  # s between two signs of life
DURATION = 30.0  # s without one, after which a holder on another machine is succeeded

Hold = Callable[[], None]  # raises LeaseLost once another process holds the run


class RunIsTaken(Unavailable):
    """Another process trains in this folder."""


class LeaseLost(Unavailable):
    """Another process took the folder over while this one gave no sign of life."""


@contextlib.contextmanager
def leased(folder: Path, tell: Callable[[str], None]) -> Generator[Hold, None, None]:
    """Holds ``folder``, which is made where it is missing, for this process alone, on shared storage too.

    A holder whose process has ended on this machine is succeeded at once, one on another machine after DURATION
    without a sign of life, by this machine's clock; ``tell`` is then told. Raises RunIsTaken where the holder lives.
    What is yielded is to be called before each write, since a lease ends the claim of a silent process and not it.
    """
    from filelock import SoftFileLease, Timeout

    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    lease = SoftFileLease(folder / LEASE, lease_duration=DURATION, heartbeat_interval=HEARTBEAT)
    before = _seen(lease)
    try:
        lease.acquire(blocking=False)
    except Timeout:
        tell(f"Waiting up to {DURATION:.0f} s for a sign of life of {before or 'the process'} that holds {folder}.")
        try:
            lease.acquire(DURATION + HEARTBEAT, cancel_check=lambda: _seen(lease) not in (before, None))
        except Timeout:
            raise RunIsTaken(
                f"{_seen(lease) or before or 'Another process'} trains in {folder}. Wait for its end, stop it, or use "
                "another folder."
            ) from None
    if before:
        tell(f"Took {folder} over from {before}.")
    token = lease.token

    def hold() -> None:
        now = _seen(lease)
        if now and now.token != token:
            raise LeaseLost(
                f"{now} took {folder} over while this process gave no sign of life. Nothing more is written here; the "
                "run goes on there."
            )

    try:
        yield hold
    finally:
        lease.release()
        if made:
            with contextlib.suppress(OSError):  # unless something was written into it
                folder.rmdir()


class _Seen(NamedTuple):
    """A holder's latest sign of life."""

    host: str
    pid: int
    token: str | None
    when: float  # by the clock of the storage

    def __str__(self) -> str:
        when = datetime.fromtimestamp(self.when).astimezone().isoformat(" ", "seconds")
        return f"process {self.pid} on {self.host} (last seen {when})"


def _seen(lease: "SoftFileLease") -> _Seen | None:
    owner = lease.owner
    try:
        when = Path(lease.lock_file).stat().st_mtime
    except OSError:
        return None
    # Behind a question mark filelock adds the container's number.
    return _Seen(owner.hostname.partition("?")[0], owner.pid, owner.token, when) if owner else None

"""Injects a fault into each Python process that has this folder on its path.

The environment variable FAULT names the fault, and MARKS a folder where each fault leaves a mark file. Faults occur
while a state is written, so that they do not depend on timing.
"""

import errno
import os
import signal
import time
from pathlib import Path

SECOND = 2  # number of the state at which a process is killed or held; the first state is there to resume from
fault, marks, rename = os.environ["FAULT"], Path(os.environ["MARKS"]), Path.replace
states = 0


def replace(self, target):
    global states
    if fault == "full disk" and target.suffix in (".pt", ".safetensors"):
        (marks / fault).touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(target))
    states += target.suffix == ".pt"
    at_second = target.suffix == ".pt" and states == SECOND
    if fault == "killed" and at_second and not (marks / fault).exists():
        # Wait for the other faults, or this machine could finish all subjects before they occur.
        while not {"full disk", "held"} <= {mark.name for mark in marks.iterdir()}:
            time.sleep(0.1)
        os.truncate(self, self.stat().st_size // 2)
        (marks / fault).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    renamed = rename(self, target)
    if fault == "held" and at_second:
        held()
    return renamed


def held():
    """Blocks until Ctrl-C or until the process is killed."""
    handler, pressed = signal.getsignal(signal.SIGINT), []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    (marks / fault).touch()
    while not pressed:
        time.sleep(0.1)
    signal.signal(signal.SIGINT, handler)
    handler(signal.SIGINT, None)


Path.replace = replace  # type: ignore[method-assign]

"""What goes wrong on a machine, for whoever starts Python with this folder on its path: FAULT says what, and each
leaves its mark in the folder MARKS. All of it happens while a state is written, so that no timing decides whether it
does."""

import errno
import os
import signal
import time
from pathlib import Path

SECOND = 2  # the state at which a process is killed or held: there is one before it to go on from
fault, marks, rename = os.environ["FAULT"], Path(os.environ["MARKS"]), Path.replace
states = 0


def replace(self, target):
    global states
    if fault == "full disk" and target.suffix in (".pt", ".safetensors"):
        (marks / fault).touch()
        raise OSError(errno.ENOSPC, "No space left on device", str(target))
    states += target.suffix == ".pt"
    here = target.suffix == ".pt" and states == SECOND
    if fault == "killed" and here and not (marks / fault).exists():
        # The others' faults come first, or one machine could do all the work before they do any.
        while not {"full disk", "held"} <= {mark.name for mark in marks.iterdir()}:
            time.sleep(0.1)
        os.truncate(self, self.stat().st_size // 2)
        (marks / fault).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    done = rename(self, target)
    if fault == "held" and here:
        held()
    return done


def held():
    """Until somebody presses Ctrl-C or ends this process."""
    before, pressed = signal.getsignal(signal.SIGINT), []
    signal.signal(signal.SIGINT, lambda *_: pressed.append(True))
    (marks / fault).touch()
    while not pressed:
        time.sleep(0.1)
    signal.signal(signal.SIGINT, before)
    before(signal.SIGINT, None)


Path.replace = replace  # type: ignore[method-assign]

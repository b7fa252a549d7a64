import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from training.runs import lease
from training.runs.lease import LEASE, LeaseLost, RunIsTaken, leased

REPOSITORY = Path(__file__).parent.parent.parent
HOLD = """
import sys, time
from pathlib import Path
from training.runs.lease import leased
with leased(Path(sys.argv[1]), print):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def quick(monkeypatch):
    """Shortens the times from seconds to fractions of a second."""
    monkeypatch.setattr(lease, "HEARTBEAT", 0.1)
    monkeypatch.setattr(lease, "DURATION", 0.6)


def marker(folder, pid=4711, host="render-07", duration=0.6):
    """The lease file of a holder on another machine, on shared storage."""
    folder.mkdir(exist_ok=True)
    text = f"filelock/2\npid={pid}\nhost={host}\nmode=lease\ntoken=abc\nduration={duration}\n"
    (folder / LEASE).write_text(text)
    return folder / LEASE


def test_a_live_holder_is_named_and_a_killed_one_is_replaced_at_once(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    holder = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    messages = []
    with (
        pytest.raises(RunIsTaken, match=rf"run\b.*\b{holder.pid}\b.*\b20\d\d-"),
        leased(tmp_path / "run", messages.append),
    ):
        pass
    assert str(holder.pid) in messages[0]
    holder.kill()
    holder.wait()
    messages.clear()
    start = time.monotonic()
    with leased(tmp_path / "run", messages.append) as hold:
        hold()
    assert time.monotonic() - start < 1
    assert len(messages) == 1 and str(holder.pid) in messages[0]


def test_an_unresponsive_holder_on_another_machine_is_replaced_after_the_lease_duration(tmp_path, quick):
    marker(tmp_path / "run")
    messages, start = [], time.monotonic()
    with leased(tmp_path / "run", messages.append) as hold:
        assert time.monotonic() - start >= 0.6
        hold()
    assert "4711" in messages[-1] and "render-07" in messages[-1]


def test_a_holder_on_another_machine_that_renews_its_lease_keeps_the_run(tmp_path, quick):
    file = marker(tmp_path / "run")
    threading.Timer(0.2, file.touch).start()
    with pytest.raises(RunIsTaken, match=r"4711.*render-07"), leased(tmp_path / "run", print):
        pass


def test_a_clock_that_is_hours_off_does_not_change_the_lease_duration(tmp_path, quick):
    import os

    for hours in (-5, 5):
        file = marker(tmp_path / "run")
        os.utime(file, (time.time() + 3600 * hours,) * 2)
        start = time.monotonic()
        with leased(tmp_path / "run", lambda line: None):
            assert time.monotonic() - start >= 0.6


def test_a_process_that_lost_its_lease_writes_nothing_more(tmp_path):
    messages = []
    with leased(tmp_path / "run", messages.append) as hold:
        hold()
        (tmp_path / "run" / LEASE).unlink()
        marker(tmp_path / "run")  # another process took over
        with pytest.raises(LeaseLost, match=r"4711.*render-07"):
            hold()
    assert not messages
    assert (tmp_path / "run" / LEASE).exists(), "the lease belongs to the other process"


def test_a_new_folder_is_removed_if_nothing_was_written(tmp_path):
    with leased(tmp_path / "run", print):
        assert (tmp_path / "run" / LEASE).exists()
    assert not (tmp_path / "run").exists()

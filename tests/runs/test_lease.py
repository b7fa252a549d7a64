import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from training.errors import FileConflict
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
    monkeypatch.setattr(lease, "GLANCE", 0.1)


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


def test_an_empty_lease_of_a_crash_is_deleted_and_said(tmp_path):
    (tmp_path / LEASE).touch()
    told, start = [], time.monotonic()
    with leased(tmp_path, told.append) as hold:
        hold()
    assert time.monotonic() - start < 10
    assert len(told) == 1 and str(tmp_path / LEASE) in told[0]


def foreign_file(path):
    path.write_text("terms of a flat")


def foreign_link(path):
    path.symlink_to(path.with_name("nowhere"))


@pytest.mark.parametrize("make", [foreign_file, foreign_link, Path.mkdir])
def test_a_file_of_the_users_that_is_named_like_a_lease_is_named_and_kept(tmp_path, quick, make):
    make(tmp_path / LEASE)
    start = time.monotonic()
    with pytest.raises(FileConflict, match=re.escape(str(tmp_path / LEASE))), leased(tmp_path, print):
        pass
    assert time.monotonic() - start < 5
    assert [path.name for path in tmp_path.iterdir()] == [LEASE]
    if make is foreign_file:
        assert (tmp_path / LEASE).read_text() == "terms of a flat"


def test_a_lease_of_another_duration_is_named(tmp_path):
    file = marker(tmp_path / "run", duration=10.0)
    with pytest.raises(RunIsTaken, match=re.escape(str(file))), leased(tmp_path / "run", print):
        pass


SUSPENDED = """
import sys, time
from pathlib import Path
from training.runs import lease
lease.HEARTBEAT, lease.DURATION, lease.GLANCE = 0.1, 1.0, 0.1
with lease.leased(Path(sys.argv[1]), print) as hold:
    print("held", flush=True)
    sys.stdin.readline()
    hold()
    print("wrote", flush=True)
"""


def test_a_suspended_holder_that_wakes_after_its_successor_ended_writes_nothing(tmp_path, monkeypatch):
    """As after Ctrl-Z: the successor's lease is gone by then, so there is no other token to see."""
    monkeypatch.setattr(lease, "HEARTBEAT", 0.1)
    monkeypatch.setattr(lease, "DURATION", 1.0)
    command = [sys.executable, "-c", SUSPENDED, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    holder = subprocess.Popen(command, cwd=REPOSITORY, text=True, **pipes)
    assert holder.stdout.readline() == "held\n"
    holder.send_signal(signal.SIGSTOP)
    with leased(tmp_path, lambda line: None) as hold:
        hold()
    holder.send_signal(signal.SIGCONT)
    out, errors = holder.communicate("\n", timeout=60)
    assert "wrote" not in out and LeaseLost.__name__ in errors and str(tmp_path / LEASE) in errors


def test_a_lease_that_is_away_for_a_moment_is_not_lost(tmp_path, monkeypatch):
    """A contender that breaks a lease moves it aside, and back if it is alive."""
    monkeypatch.setattr(lease, "GLANCE", 1.0)
    with leased(tmp_path, print) as hold:
        aside = (tmp_path / LEASE).rename(tmp_path / "aside")
        threading.Timer(0.2, aside.rename, [tmp_path / LEASE]).start()
        hold()

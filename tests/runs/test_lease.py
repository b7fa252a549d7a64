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
    """Fractions of the seconds that people wait."""
    monkeypatch.setattr(lease, "HEARTBEAT", 0.1)
    monkeypatch.setattr(lease, "DURATION", 0.6)


def marker(folder, pid=4711, host="render-07", duration=0.6):
    """What a holder on another machine leaves on shared storage."""
    folder.mkdir(exist_ok=True)
    text = f"filelock/2\npid={pid}\nhost={host}\nmode=lease\ntoken=abc\nduration={duration}\n"
    (folder / LEASE).write_text(text)
    return folder / LEASE


def test_a_living_holder_is_named_and_a_killed_one_succeeded_at_once(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    holder = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    told = []
    with (
        pytest.raises(RunIsTaken, match=rf"run .*process {holder.pid} on \S+ \(last seen 20\d\d-"),
        leased(tmp_path / "run", told.append),
    ):
        pass
    assert f"process {holder.pid} on" in told[0]
    holder.kill()
    holder.wait()
    told.clear()
    start = time.monotonic()
    with leased(tmp_path / "run", told.append) as hold:
        hold()
    assert time.monotonic() - start < 1
    assert len(told) == 1 and f"from process {holder.pid} on" in told[0]


def test_a_silent_holder_on_another_machine_is_succeeded_after_a_while(tmp_path, quick):
    marker(tmp_path / "run")
    told, start = [], time.monotonic()
    with leased(tmp_path / "run", told.append) as hold:
        assert time.monotonic() - start >= 0.6
        hold()
    assert "from process 4711 on render-07" in told[-1]


def test_a_holder_on_another_machine_that_shows_a_sign_of_life_keeps_the_run(tmp_path, quick):
    file = marker(tmp_path / "run")
    threading.Timer(0.2, file.touch).start()
    with pytest.raises(RunIsTaken, match="4711 on render-07"), leased(tmp_path / "run", print):
        pass


def test_a_clock_that_is_hours_off_neither_ends_nor_saves_a_claim(tmp_path, quick):
    import os

    for hours in (-5, 5):
        file = marker(tmp_path / "run")
        os.utime(file, (time.time() + 3600 * hours,) * 2)
        start = time.monotonic()
        with leased(tmp_path / "run", lambda line: None):
            assert time.monotonic() - start >= 0.6


def test_who_was_silent_too_long_writes_nothing_more(tmp_path):
    told = []
    with leased(tmp_path / "run", told.append) as hold:
        hold()
        (tmp_path / "run" / LEASE).unlink()
        marker(tmp_path / "run")  # another took over
        with pytest.raises(LeaseLost, match="4711 on render-07"):
            hold()
    assert not told
    assert (tmp_path / "run" / LEASE).exists(), "it is theirs"


def test_a_folder_in_which_nothing_was_written_leaves_no_trace(tmp_path):
    with leased(tmp_path / "run", print):
        assert (tmp_path / "run" / LEASE).exists()
    assert not (tmp_path / "run").exists()

"""A disk that is full at any time costs a training no file that was whole; with room it ends as undisturbed."""

import subprocess

import pytest

from tests.hostile import child
from tests.hostile.results import ended, results

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path):
    """A disk of so many KB, in memory; called again with another number, it has that many."""
    place, mounted = tmp_path / "disk", []
    place.mkdir()

    def sized(kilobytes):
        options = f"size={kilobytes}k" + (",remount" if mounted else "")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True).returncode:
            pytest.skip("this machine lets nobody mount a disk")
        mounted.append(place)
        return place

    yield sized
    if mounted:
        subprocess.run(["umount", place], check=True)


# Full while writing the first state (600 KB), the first look, and the subject after the last step.
@pytest.mark.parametrize("kilobytes", [400, 680, 1000])
def test_a_full_disk_loses_nothing(tmp_path, disk, start, kilobytes):
    assert ended(start(child.run, tmp_path / "whole")) == 0
    whole = results(tmp_path / "whole")
    run = disk(kilobytes) / "run"
    assert ended(start(child.run, run)) != 0
    assert not run.exists() or not results(run), "it began although there was no room"
    assert ended(start(child.run_unchecked, run)) != 0
    left = results(run) if run.exists() else {}
    assert "anna.safetensors" not in left
    assert ("training-state.pt" in left) == (kilobytes > 600)
    disk(8000)
    assert ended(start(child.run, run)) == 0
    assert results(run) == whole

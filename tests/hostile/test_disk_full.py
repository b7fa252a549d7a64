"""A full disk damages no complete file. Once there is room, training ends like an undisturbed run."""

import subprocess

import pytest

from tests.hostile import child
from tests.hostile.results import ended, results

pytestmark = pytest.mark.slow


@pytest.fixture
def disk(tmp_path):
    """Returns a function that mounts an in-memory disk of the given KB, or resizes it, and returns its folder."""
    folder, mounted = tmp_path / "disk", []
    folder.mkdir()

    def sized(kilobytes):
        options = f"size={kilobytes}k" + (",remount" if mounted else "")
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True).returncode:
            pytest.skip("mounting a disk needs more rights")
        mounted.append(folder)
        return folder

    yield sized
    if mounted:
        subprocess.run(["umount", folder], check=True)


# The disk fills up while writing the first state (600 KB), the first look, or the subject after the last step.
@pytest.mark.parametrize("kilobytes", [400, 680, 1000])
def test_a_full_disk_loses_nothing(tmp_path, disk, start, kilobytes):
    assert ended(start(child.run, tmp_path / "whole")) == 0
    whole = results(tmp_path / "whole")
    run = disk(kilobytes) / "run"
    assert ended(start(child.run, run)) != 0
    assert not run.exists() or not results(run), "training started without enough room"
    assert ended(start(child.run_unchecked, run)) != 0
    left = results(run) if run.exists() else {}
    assert "anna.safetensors" not in left
    assert ("training-state.pt" in left) == (kilobytes > 600)
    disk(8000)
    assert ended(start(child.run, run)) == 0
    assert results(run) == whole

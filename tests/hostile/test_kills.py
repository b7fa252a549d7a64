"""Training that is killed at any moment and restarted gives the same result as an undisturbed run."""

import itertools
import os
import random
import signal

import pytest
from safetensors.torch import save_file

from tests.hostile import child
from tests.hostile.results import ended, results
from tests.parts import picture
from tests.tiny import tiny_checkpoint
from training.models.stable_diffusion.families import SD1
from training.runs.lease import LEASE

pytestmark = pytest.mark.slow
KILLED = -signal.SIGKILL


def test_a_run_killed_before_each_rename_or_deletion(tmp_path, start):
    assert ended(start(child.run, tmp_path / "whole")) == 0
    whole = results(tmp_path / "whole")
    assert {"anna.safetensors", "anna.json", "anna.png", "curves.png", "losses.csv", "looks.json"} <= whole.keys()
    for change in itertools.count(1):
        folder = tmp_path / f"killed_{change}"
        if ended(start(child.run, folder, change)) == 0:
            break
        assert ended(start(child.run, folder)) == 0
        assert results(folder) == whole, f"killed before change {change}"
    assert change > 9, "state, look, record, curves, previews, losses, subject, and the deletion of the state"


def test_a_command_killed_at_random_moments_and_restarted(tmp_path, start):
    save_file(tiny_checkpoint(SD1), tmp_path / "tiny.safetensors")
    for folder, names in {"photos": "ab", "ages": ("child_1", "old_2")}.items():
        (tmp_path / folder).mkdir()
        for number, name in enumerate(names):
            picture(number).save(tmp_path / folder / f"{name}.png")

    def train(name):
        options = {"checkpoint": tmp_path / "tiny.safetensors", "subject": tmp_path / "photos", "out": tmp_path / name}
        options |= {"regularization": tmp_path / "ages", "loss": "none", "resolution": 64, "save_precision": "fp32"}
        options |= {"max_train_steps": 60, "checkpointing_steps": 5, "lr_scheduler": "cosine"}
        words = [word for key, value in options.items() for word in (f"--{key.replace('_', '-')}", str(value))]
        return start(child.command, "train", *words, "--resume")

    assert ended(train("whole")) == 0
    (tmp_path / "whole" / "whole.safetensors").rename(tmp_path / "whole" / "anna.safetensors")
    seed = random.randrange(1000)
    generator, kills = random.Random(seed), 0
    while kills < 5:
        process = train("anna")
        process.join(generator.uniform(0.5, 4))
        if not process.is_alive():
            break
        os.kill(process.pid, signal.SIGKILL)
        assert ended(process) == KILLED
        kills += 1
    assert ended(train("anna")) == 0
    assert kills, "training ended before it could be killed"
    whole, killed = results(tmp_path / "whole"), results(tmp_path / "anna")
    assert killed["anna.safetensors"] == whole["anna.safetensors"], f"random seed {seed}, {kills} kills"
    assert killed["losses.csv"] == whole["losses.csv"]
    assert killed.keys() == {name.replace("whole", "anna") for name in whole} and LEASE not in killed

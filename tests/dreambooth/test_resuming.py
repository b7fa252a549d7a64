"""A training that ends early goes on from its state as if nothing had happened, and from no other run's."""

import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.parts import tiny_trainer, weights
from training.dreambooth.trainer import StopTraining, TrainingDiverged
from training.errors import UserError

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_stopped_and_resumed_equals_uninterrupted_to_the_bit(tmp_path, method):
    options = {"method": method, "max_train_steps": 6, "lr_scheduler": "cosine", "random_flip": True}
    whole = tiny_trainer(**options)
    whole.run()

    def stop(progress):
        if progress.step == 2:
            raise StopTraining

    stopped = tiny_trainer(**options)
    with pytest.raises(StopTraining):
        stopped.run(tmp_path / "state.pt", [stop])
    resumed = tiny_trainer(**options)
    resumed.resume(tmp_path / "state.pt")
    assert resumed.step_number == 2
    resumed.run()
    assert resumed.history == whole.history
    expected = weights(whole)
    assert all(torch.equal(expected[name], weight) for name, weight in weights(resumed).items())


RUN_TO_THE_END = """
import sys, torch
from pathlib import Path
from tests.parts import tiny_trainer, weights
folder = Path(sys.argv[1])
state = folder / "state.pt"
trainer = tiny_trainer(max_train_steps=30, checkpointing_steps=3, loss="biometric")
if state.exists():
    trainer.resume(state)
trainer.run(state, [lambda progress: print(progress.step, flush=True)])
torch.save(weights(trainer), folder / "weights.pt")
"""


def test_killed_at_a_random_step_and_resumed_equals_uninterrupted_to_the_bit(tmp_path):
    def start(folder):
        return subprocess.Popen(
            [sys.executable, "-c", RUN_TO_THE_END, str(folder)], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True
        )

    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    assert start(tmp_path / "whole").wait() == 0
    victim = start(tmp_path / "killed")
    last_words = random.Random(time.time()).randint(4, 26)
    for line in victim.stdout:
        if line.strip() == str(last_words):
            victim.send_signal(signal.SIGKILL)
            break
    assert victim.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "weights.pt").exists()
    again = start(tmp_path / "killed")
    steps = [int(line) for line in again.stdout if line.strip().isdigit()]
    assert again.wait() == 0
    assert steps[0] > 3, "it started anew instead of resuming"
    whole, resumed = (torch.load(tmp_path / name / "weights.pt") for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole), f"killed after step {last_words}"


def test_a_loss_that_is_not_finite_stops_with_the_state_before_it(tmp_path):
    trainer = tiny_trainer(loss="none", max_train_steps=9)
    draw, seen = trainer.data.draw, []

    def poisoned(number, *rest):
        batch = draw(number, *rest)
        return replace(batch, x_0=batch.x_0 * float("nan")) if number == 2 else batch

    trainer.data.draw = poisoned
    with pytest.raises(TrainingDiverged, match=r"step 3.*not a finite number.*learning rate"):
        trainer.run(tmp_path / "state.pt", [lambda progress: seen.append(weights(trainer))])
    resumed = tiny_trainer(loss="none", max_train_steps=9)
    resumed.resume(tmp_path / "state.pt")
    assert resumed.step_number == 2
    assert all(torch.equal(seen[-1][name], weight) for name, weight in weights(resumed).items())


@pytest.mark.parametrize("error", [OSError("the disk is gone"), KeyboardInterrupt(), ValueError("anything")])
def test_any_exception_saves_the_last_whole_step(tmp_path, error):
    trainer, seen = tiny_trainer(loss="none", max_train_steps=9), []
    draw = trainer.data.draw

    def broken(number, *rest):
        if number == 2:
            raise error
        return draw(number, *rest)

    trainer.data.draw = broken
    with pytest.raises(type(error)):
        trainer.run(tmp_path / "state.pt", [lambda progress: seen.append(weights(trainer))])
    resumed = tiny_trainer(loss="none", max_train_steps=9)
    resumed.resume(tmp_path / "state.pt")
    assert resumed.step_number == 2
    assert all(torch.equal(seen[-1][name], weight) for name, weight in weights(resumed).items())


def test_a_step_that_broke_inside_the_optimizer_is_not_saved(tmp_path):
    trainer = tiny_trainer(loss="none", max_train_steps=9)
    step = trainer.optimizer.step

    def half(*rest):
        step(*rest)
        raise MemoryError

    trainer.optimizer.step = half
    with pytest.raises(MemoryError):
        trainer.run(tmp_path / "state.pt")
    assert not (tmp_path / "state.pt").exists()


def test_a_picture_that_changed_is_named(tmp_path):
    tiny_trainer().save_state(tmp_path / "state.pt")
    other = tiny_trainer()
    other.inputs["pictures"] |= {"photo 1.png": "another", "photo 9.png": "more"}
    with pytest.raises(UserError, match=r"photo 1\.png is changed; photo 9\.png is new"):
        other.resume(tmp_path / "state.pt")


def test_state_of_another_run_is_not_resumed(tmp_path):
    tiny_trainer().save_state(tmp_path / "state.pt")
    other = tiny_trainer(rank=8)
    with pytest.raises(UserError, match=r"rank 16 .now 8."):
        other.resume(tmp_path / "state.pt")


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"max_train_steps": 9, "gradient_checkpointing": True, "checkpointing_steps": 1}, True),
        ({"learning_rate": 1e-4}, False),
        ({"seed": 3}, False),
        ({"loss": "cosine"}, False),
    ],
)
def test_only_settings_that_change_no_result_may_change_on_resuming(tmp_path, options, allowed):
    tiny_trainer().save_state(tmp_path / "state.pt")
    other = tiny_trainer(**options)
    if allowed:
        other.resume(tmp_path / "state.pt")
    else:
        with pytest.raises(UserError, match="of another run"):
            other.resume(tmp_path / "state.pt")

"""Training stops when a loss or weight is not finite: completed steps are kept and no bad weights are written."""

import re
from dataclasses import replace

import pytest
import torch

from tests.parts import resume, run, save_state, tiny_trainer, weights
from training.dreambooth.trainer import TrainingDiverged
from training.errors import RunMismatch, TrainingFailed
from training.runs.files import write_subject


def test_a_loss_that_is_not_finite_stops_and_saves_the_state_before_it(tmp_path):
    trainer = tiny_trainer(loss="none", max_train_steps=9)
    sample_batch, weights_per_step = trainer.data.sample, []

    def poisoned(number, *rest):
        batch = sample_batch(number, *rest)
        return replace(batch, x_0=batch.x_0 * float("nan")) if number == 2 else batch

    trainer.data.sample = poisoned
    with pytest.raises(TrainingDiverged, match=r"\b3\b.*0\.001"):
        run(trainer, tmp_path / "state.pt", [lambda progress: weights_per_step.append(weights(trainer))])
    resumed = tiny_trainer(loss="none", max_train_steps=9)
    resume(resumed, tmp_path / "state.pt")
    assert resumed.step_number == 2
    assert all(torch.equal(weights_per_step[-1][name], weight) for name, weight in weights(resumed).items())


def diverging(at, **options):
    """A trainer whose batch number ``at`` is nan at a learning rate of 1e-3 and normal at any other."""
    trainer = tiny_trainer(loss="none", max_train_steps=6, **options)
    sample_batch = trainer.data.sample

    def poisoned(number, *rest):
        batch = sample_batch(number, *rest)
        return replace(batch, x_0=batch.x_0 * float("nan")) if number == at and trainer.config.rate == 1e-3 else batch

    trainer.data.sample = poisoned
    return trainer


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_diverged_run_resumes_only_with_a_lower_learning_rate(tmp_path, schedule):
    state = tmp_path / "state.pt"
    with pytest.raises(TrainingDiverged, match=r"\b3\b.*0\.001"):
        run(diverging(2, lr_scheduler=schedule), state)
    with pytest.raises(RunMismatch, match=r"learning_rate.*0\.001.*0\.01"):
        resume(diverging(2, lr_scheduler=schedule, learning_rate=1e-2), state)
    resumed, rates = diverging(2, lr_scheduler=schedule, learning_rate=1e-4), []
    (remark,) = resume(resumed, state)
    assert re.findall(r"0\.\d+|\b\d\b", remark) == ["0.001", "0.0001", "2"]
    run(resumed, state, [lambda progress: rates.append(progress.learning_rate)])
    expected = []
    lower = tiny_trainer(loss="none", max_train_steps=6, lr_scheduler=schedule, learning_rate=1e-4)
    run(lower, callbacks=[lambda progress: expected.append(progress.learning_rate)])
    assert rates == pytest.approx(expected[2:])
    save_state(resumed, state)
    assert torch.load(state)["lowered"] == [{"rate": 1e-3, "until": 2}]
    for other in (1e-3, 1e-5):  # training did not diverge at 1e-4
        with pytest.raises(RunMismatch, match="learning_rate"):
            resume(diverging(2, lr_scheduler=schedule, learning_rate=other), state)


def test_weights_that_are_not_finite_are_saved_neither_as_state_nor_as_subject(tmp_path):
    trainer = tiny_trainer(loss="none", max_train_steps=4, checkpointing_steps=1, learning_rate=1e-3)

    def broken(progress):
        if progress.step == 2:
            with torch.no_grad():
                next(iter(trainer.trainable.values())).fill_(float("inf"))

    with pytest.raises(TrainingDiverged, match=r"\b3\b.*weights"):
        run(trainer, tmp_path / "state.pt", [broken])
    assert torch.load(tmp_path / "state.pt")["step"] == 2
    with pytest.raises(TrainingFailed, match=r"\b512 of \d+"):
        write_subject(trainer, tmp_path / "anna.safetensors", torch.float32)
    assert not (tmp_path / "anna.safetensors").exists()


def test_weights_that_overflow_the_number_format_are_not_saved(tmp_path):
    trainer = tiny_trainer()
    with torch.no_grad():
        next(iter(trainer.trainable.values()))[0, 0] = 1e6
    with pytest.raises(TrainingFailed, match=r"\b1 of \d+.*float16.*fp32"):
        write_subject(trainer, tmp_path / "anna.safetensors", torch.float16)
    write_subject(trainer, tmp_path / "anna.safetensors", torch.float32)

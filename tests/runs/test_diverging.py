"""A loss that is no number ends a training, costs no work, and leaves no file of it."""

from dataclasses import replace

import pytest
import torch

from tests.parts import resume, run, save_state, tiny_trainer, weights
from training.dreambooth.trainer import TrainingDiverged
from training.errors import RunMismatch, UserError
from training.runs.files import write_subject


def test_a_loss_that_is_not_finite_stops_with_the_state_before_it(tmp_path):
    trainer = tiny_trainer(loss="none", max_train_steps=9)
    draw, seen = trainer.data.sample, []

    def poisoned(number, *rest):
        batch = draw(number, *rest)
        return replace(batch, x_0=batch.x_0 * float("nan")) if number == 2 else batch

    trainer.data.sample = poisoned
    with pytest.raises(TrainingDiverged, match=r"step 3.*learning rate"):
        run(trainer, tmp_path / "state.pt", [lambda progress: seen.append(weights(trainer))])
    resumed = tiny_trainer(loss="none", max_train_steps=9)
    resume(resumed, tmp_path / "state.pt")
    assert resumed.step_number == 2
    assert all(torch.equal(seen[-1][name], weight) for name, weight in weights(resumed).items())


def diverging(at, **options):
    """A trainer whose batch ``at`` is no numbers at a learning rate of 1e-3, and sound at a lower one."""
    trainer = tiny_trainer(loss="none", max_train_steps=6, **options)
    draw = trainer.data.sample

    def poisoned(number, *rest):
        batch = draw(number, *rest)
        return replace(batch, x_0=batch.x_0 * float("nan")) if number == at and trainer.config.rate == 1e-3 else batch

    trainer.data.sample = poisoned
    return trainer


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_run_that_diverged_goes_on_with_a_lower_learning_rate_and_no_other(tmp_path, schedule):
    state = tmp_path / "state.pt"
    with pytest.raises(TrainingDiverged, match=r"step 3.*0\.001"):
        run(diverging(2, lr_scheduler=schedule), state)
    with pytest.raises(RunMismatch, match=r"learning_rate was 0\.001 and is 0\.01"):
        resume(diverging(2, lr_scheduler=schedule, learning_rate=1e-2), state)
    resumed, rates = diverging(2, lr_scheduler=schedule, learning_rate=1e-4), []
    (remark,) = resume(resumed, state)
    assert "0.0001" in remark and "step 2" in remark
    run(resumed, state, [lambda progress: rates.append(progress.learning_rate)])
    whole = []
    lower = tiny_trainer(loss="none", max_train_steps=6, lr_scheduler=schedule, learning_rate=1e-4)
    run(lower, callbacks=[lambda progress: whole.append(progress.learning_rate)])
    assert rates == pytest.approx(whole[2:])
    save_state(resumed, state)
    assert torch.load(state)["lowered"] == [{"rate": 1e-3, "until": 2}]
    for other in (1e-3, 1e-5):  # it did not diverge at this one
        with pytest.raises(RunMismatch, match="learning_rate"):
            resume(diverging(2, lr_scheduler=schedule, learning_rate=other), state)


def test_weights_that_are_no_numbers_are_neither_a_state_nor_a_subject(tmp_path):
    trainer = tiny_trainer(loss="none", max_train_steps=4, checkpointing_steps=1, learning_rate=1e-3)

    def broken(progress):
        if progress.step == 2:
            with torch.no_grad():
                next(iter(trainer.trainable.values())).fill_(float("inf"))

    with pytest.raises(TrainingDiverged, match="weights"):
        run(trainer, tmp_path / "state.pt", [broken])
    assert torch.load(tmp_path / "state.pt")["step"] == 2
    with pytest.raises(UserError, match=r"512 of \d+ numbers are not finite"):
        write_subject(trainer, tmp_path / "anna.safetensors", torch.float32)
    assert not (tmp_path / "anna.safetensors").exists()


def test_a_number_format_that_cannot_hold_the_weights_is_no_subject(tmp_path):
    trainer = tiny_trainer()
    with torch.no_grad():
        next(iter(trainer.trainable.values()))[0, 0] = 1e6
    with pytest.raises(UserError, match=r"1 of .* not finite in float16.*fp32"):
        write_subject(trainer, tmp_path / "anna.safetensors", torch.float16)
    write_subject(trainer, tmp_path / "anna.safetensors", torch.float32)

"""A loss that is no number ends a training, costs no work, and leaves no file of it."""

from dataclasses import replace

import pytest
import torch

from tests.parts import tiny_trainer, weights
from training.dreambooth.trainer import TrainingDiverged
from training.errors import UserError


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


def diverging(at, **options):
    """A trainer whose batch ``at`` is no numbers at a learning rate of 1e-3, and sound at a lower one."""
    trainer = tiny_trainer(loss="none", max_train_steps=6, **options)
    draw = trainer.data.draw

    def poisoned(number, *rest):
        batch = draw(number, *rest)
        return replace(batch, x_0=batch.x_0 * float("nan")) if number == at and trainer.config.rate == 1e-3 else batch

    trainer.data.draw = poisoned
    return trainer


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_run_that_diverged_goes_on_with_a_lower_learning_rate_and_no_other(tmp_path, schedule):
    state = tmp_path / "state.pt"
    with pytest.raises(TrainingDiverged, match="goes on from it with a lower --learning-rate"):
        diverging(2, lr_scheduler=schedule).run(state)
    with pytest.raises(UserError, match=r"learning_rate 0\.001 .now 0\.01."):
        diverging(2, lr_scheduler=schedule, learning_rate=1e-2).resume(state)
    resumed, rates = diverging(2, lr_scheduler=schedule, learning_rate=1e-4), []
    resumed.resume(state)
    assert "the learning rate is 0.0001 from step 2 on" in resumed.remarks[0]
    resumed.run(state, [lambda progress: rates.append(progress.learning_rate)])
    whole = []
    tiny_trainer(loss="none", max_train_steps=6, lr_scheduler=schedule, learning_rate=1e-4).run(
        None, [lambda progress: whole.append(progress.learning_rate)]
    )
    assert rates == pytest.approx(whole[2:])
    resumed.save_state(state)
    assert torch.load(state)["lowered"] == [{"rate": 1e-3, "until": 2}]
    for other in (1e-3, 1e-5):  # it did not diverge at this one
        with pytest.raises(UserError, match="of another run: learning_rate"):
            diverging(2, lr_scheduler=schedule, learning_rate=other).resume(state)


def test_weights_that_are_no_numbers_are_neither_a_state_nor_a_subject(tmp_path):
    trainer = tiny_trainer(loss="none", max_train_steps=4, checkpointing_steps=1, learning_rate=1e-3)

    def broken(progress):
        if progress.step == 2:
            with torch.no_grad():
                next(iter(trainer.trainable.values())).fill_(float("inf"))

    with pytest.raises(TrainingDiverged, match="The weights are no numbers any more"):
        trainer.run(tmp_path / "state.pt", [broken])
    assert torch.load(tmp_path / "state.pt")["step"] == 2
    with pytest.raises(UserError, match=r"512 of \d+ numbers are not finite"):
        trainer.write_subject(tmp_path / "anna.safetensors", torch.float32)
    assert not (tmp_path / "anna.safetensors").exists()


def test_a_number_format_that_cannot_hold_the_weights_is_no_subject(tmp_path):
    trainer = tiny_trainer()
    with torch.no_grad():
        next(iter(trainer.trainable.values()))[0, 0] = 1e6
    with pytest.raises(UserError, match=r"1 of .* not finite in float16.*fp32"):
        trainer.write_subject(tmp_path / "anna.safetensors", torch.float16)
    trainer.write_subject(tmp_path / "anna.safetensors", torch.float32)

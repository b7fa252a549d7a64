"""An interrupted training resumes from its state to the same result, and refuses the state of another run."""

import itertools
import re
import sys

import pytest
import torch

from tests.parts import resume, run, save_state, tiny_trainer, weights
from training.dreambooth.trainer import StopTraining, Trainer
from training.errors import RunMismatch


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
        run(stopped, tmp_path / "state.pt", [stop])
    resumed = tiny_trainer(**options)
    resume(resumed, tmp_path / "state.pt")
    assert resumed.step_number == 2
    resumed.run()
    assert resumed.history == whole.history
    expected = weights(whole)
    assert all(torch.equal(expected[name], weight) for name, weight in weights(resumed).items())


@pytest.mark.parametrize("error", [OSError("the disk is gone"), KeyboardInterrupt(), ValueError("anything")])
def test_any_exception_saves_the_last_completed_step(tmp_path, error):
    trainer, weights_per_step = tiny_trainer(loss="none", max_train_steps=9), []
    sample_batch = trainer.data.sample

    def broken(number, *rest):
        if number == 2:
            raise error
        return sample_batch(number, *rest)

    trainer.data.sample = broken
    with pytest.raises(type(error)):
        run(trainer, tmp_path / "state.pt", [lambda progress: weights_per_step.append(weights(trainer))])
    resumed = tiny_trainer(loss="none", max_train_steps=9)
    resume(resumed, tmp_path / "state.pt")
    assert resumed.step_number == 2
    assert all(torch.equal(weights_per_step[-1][name], weight) for name, weight in weights(resumed).items())


def test_a_step_that_fails_inside_the_optimizer_is_not_saved(tmp_path):
    trainer = tiny_trainer(loss="none", max_train_steps=9)
    step = trainer.optimizer.step

    def half(*rest):
        step(*rest)
        raise MemoryError

    trainer.optimizer.step = half
    with pytest.raises(MemoryError):
        run(trainer, tmp_path / "state.pt")
    assert not (tmp_path / "state.pt").exists()


def test_an_interrupt_at_any_line_saves_as_many_losses_as_steps(tmp_path):
    """Interrupts the training once before each line of the step and of the loop."""
    code = {Trainer.step.__code__, Trainer.run.__code__}
    trainer = tiny_trainer(loss="none", max_train_steps=1)
    for place in itertools.count(1):
        trainer.step_number, trainer.history, trainer._in_optimizer = 0, [], False
        left = iter(range(place))

        def trace(frame, event, argument, left=left):
            if frame.f_code not in code:
                return None
            if event == "line" and next(left, None) is None:
                sys.settrace(None)
                raise KeyboardInterrupt
            return trace

        state = tmp_path / f"{place}.pt"
        sys.settrace(trace)
        try:
            run(trainer, state)
        except KeyboardInterrupt:
            pass
        else:
            break
        finally:
            sys.settrace(None)
        if state.exists():
            saved = torch.load(state)
            assert len(saved["history"]) == saved["step"], f"line {place}"
    assert place > 30


def test_a_changed_number_of_threads_is_reported(tmp_path):
    save_state(tiny_trainer(), tmp_path / "state.pt")
    same, other, threads = tiny_trainer(), tiny_trainer(), torch.get_num_threads()
    assert resume(same, tmp_path / "state.pt") == []
    try:
        torch.set_num_threads(threads + 1)
        (remark,) = resume(other, tmp_path / "state.pt")
    finally:
        torch.set_num_threads(threads)
    assert re.search(rf"threads\D*{threads}\D+{threads + 1}\b", remark)


def test_a_changed_image_is_named(tmp_path):
    save_state(tiny_trainer(), tmp_path / "state.pt")
    other = tiny_trainer()
    other.inputs["pictures"] |= {"photo 1.png": "another", "photo 9.png": "more"}
    with pytest.raises(RunMismatch, match=r"photo 1\.png.*photo 9\.png"):
        resume(other, tmp_path / "state.pt")


def test_the_state_of_another_run_is_refused(tmp_path):
    save_state(tiny_trainer(), tmp_path / "state.pt")
    other = tiny_trainer(rank=8)
    with pytest.raises(RunMismatch, match=r"rank\D*16\D*8\b"):
        resume(other, tmp_path / "state.pt")


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"max_train_steps": 9, "gradient_checkpointing": True, "checkpointing_steps": 1}, True),
        ({"learning_rate": 1e-4}, False),
        ({"seed": 3}, False),
        ({"loss": "cosine"}, False),
    ],
)
def test_only_settings_that_do_not_affect_the_result_may_change_on_resuming(tmp_path, options, allowed):
    save_state(tiny_trainer(), tmp_path / "state.pt")
    other = tiny_trainer(**options)
    if allowed:
        resume(other, tmp_path / "state.pt")
    else:
        with pytest.raises(RunMismatch):
            resume(other, tmp_path / "state.pt")

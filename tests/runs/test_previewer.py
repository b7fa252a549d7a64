import json

import pytest
import torch

from tests.parts import ToyEmbedder, known_place, run_to_the_end, subject_set, tiny_trainer
from training.dreambooth.trainer import StopTraining
from training.errors import UserError
from training.faces.observation import Observer
from training.models.subject import read_subject
from training.runs.evaluations import Evaluation, Judge, PreviewPlan
from training.runs.previewer import Previewer, step_file
from training.runs.previews import generate_ages
from training.weights import read_state_dict

OBSERVER = Observer(known_place, ToyEmbedder())
JUDGE = Judge.of(subject_set(), OBSERVER)


class Told:
    """A judge of whom the test says what is seen: identity by step."""

    def __init__(self, identity):
        self.identity = identity

    def evaluate(self, step, pictures):
        return Evaluation(step, [self.identity[step]] * 6, [None] * 6)


def trainer(plan, **options):
    return tiny_trainer(previews=plan, **options)


def test_looks_come_every_so_often_and_after_the_last_step(tmp_path):
    plan = PreviewPlan(2, OBSERVER)
    running, shown = trainer(plan, max_train_steps=5, learning_rate=1e-2), []
    run = run_to_the_end(
        running, tmp_path / "run", plan, JUDGE, show=lambda pictures, look: shown.append((look.step, pictures))
    )
    assert [step for step, _ in shown] == [look.step for look in run.evaluations] == [2, 4, 5]
    pictures = generate_ages(running)
    assert [picture.tobytes() for picture in run.previews] == [picture.tobytes() for picture in pictures]
    expected = JUDGE.evaluate(5, pictures)
    assert run.evaluations[-1].similarities == pytest.approx(expected.similarities)
    assert run.evaluations[0].similarities != run.evaluations[-1].similarities


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_best_step_is_kept_as_it_was_then(tmp_path, method):
    running = trainer(PreviewPlan(1), max_train_steps=3, learning_rate=1e-2, method=method)
    run = run_to_the_end(running, tmp_path / "run", PreviewPlan(1), Told({1: 0.3, 2: 0.8, 3: 0.5}))
    assert run.file == step_file(tmp_path / "run", 2) and read_subject(run.file).steps == 2
    assert read_subject(run.last).steps == 3
    shorter = trainer(PreviewPlan(0), max_train_steps=2, learning_rate=1e-2, method=method)
    expected = read_state_dict(run_to_the_end(shorter, tmp_path / "shorter", PreviewPlan(0)).file)
    found = read_state_dict(run.file)
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    kept = step_file(tmp_path / "run", 1).is_file()
    assert kept == (method == "lora")  # a longer run of a LoRA goes on from here, and may want it
    assert not step_file(tmp_path / "run", 3).exists()


def test_a_look_leaves_nothing_in_a_run_that_became_anothers_meanwhile(tmp_path):
    def lost():
        raise UserError("another trains here")

    running = trainer(PreviewPlan(1))
    previewer = Previewer(running, PreviewPlan(1), tmp_path, Told({0: 0.5}), write=lambda path: path.touch(), hold=lost)
    with pytest.raises(UserError, match="another trains here"):
        previewer.preview()
    assert list(tmp_path.iterdir()) == []


def test_patience_ends_the_run_which_is_then_finished(tmp_path):
    seen = Told({1: 0.5, 2: 0.4, 3: 0.4, 4: 0.9})
    plan = PreviewPlan(1, patience=2)
    running = trainer(plan, max_train_steps=4)
    run = run_to_the_end(running, tmp_path / "run", plan, seen)
    assert (running.step_number, len(run.history), run.file) == (3, 3, step_file(tmp_path / "run", 1))
    found = run_to_the_end(trainer(plan, max_train_steps=4), tmp_path / "run", plan, seen)
    assert (found.resumed_at, found.evaluations, found.file) == (None, run.evaluations, run.file)


def test_an_interrupted_run_remembers_its_looks(tmp_path):
    def stop(progress):
        if progress.step == 3:
            raise StopTraining

    seen = Told({1: 0.3, 2: 0.8, 3: 0.5, 4: 0.6})
    with pytest.raises(StopTraining):
        run_to_the_end(trainer(PreviewPlan(1), max_train_steps=4), tmp_path / "run", PreviewPlan(1), seen, [stop])
    assert len(json.loads((tmp_path / "run" / "looks.json").read_text())) == 2  # Cancel came before the third look,
    run = run_to_the_end(trainer(PreviewPlan(1), max_train_steps=4), tmp_path / "run", PreviewPlan(1), seen)
    assert [look.step for look in run.evaluations] == [1, 2, 3, 4]  # which is made up for, from the state of its step
    assert read_subject(run.file).steps == 2
    assert [Evaluation(**look) for look in json.loads((tmp_path / "run" / "looks.json").read_text())] == run.evaluations


def test_patience_that_was_at_its_end_ends_a_resumed_run_at_once(tmp_path):
    def killed(pictures, look):
        if look.step == 2:
            raise KeyboardInterrupt

    plan, seen = PreviewPlan(1, patience=1), Told({1: 0.5, 2: 0.4})
    with pytest.raises(KeyboardInterrupt):
        run_to_the_end(trainer(plan), tmp_path / "run", plan, seen, show=killed)
    run = run_to_the_end(trainer(plan), tmp_path / "run", plan, seen)
    assert len(run.history) == 2 and [look.step for look in run.evaluations] == [1, 2]


def test_a_longer_run_of_a_lora_goes_on_with_the_looks_of_the_shorter(tmp_path):
    seen = Told({1: 0.9, 2: 0.4, 3: 0.5, 4: 0.6})
    for steps in (2, 4, 2):
        run = run_to_the_end(trainer(PreviewPlan(1), max_train_steps=steps), tmp_path / "run", PreviewPlan(1), seen)
        assert [look.step for look in run.evaluations] == list(range(1, steps + 1))
        assert read_subject(run.file).steps == 1

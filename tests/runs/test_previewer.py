import json

import pytest
import torch

from tests.parts import ToyEmbedder, known_place, run_to_the_end, subject_set, tiny_trainer
from training.dreambooth.trainer import StopTraining
from training.faces.observation import Observer
from training.models.subject import read_subject
from training.runs.evaluations import Evaluation, Judge, PreviewPlan
from training.runs.lease import LeaseLost
from training.runs.previewer import Previewer, step_file
from training.runs.previews import generate_ages
from training.weights import read_state_dict

OBSERVER = Observer(known_place, ToyEmbedder())
JUDGE = Judge.of(subject_set(), OBSERVER)


class FixedJudge:
    """A judge that returns the given identity per step."""

    def __init__(self, identity):
        self.identity = identity

    def evaluate(self, step, images):
        return Evaluation(step, [self.identity[step]] * 6, [None] * 6)


def trainer(plan, **options):
    return tiny_trainer(previews=plan, **options)


def test_previews_come_every_few_steps_and_after_the_last(tmp_path):
    plan = PreviewPlan(2, OBSERVER)
    running, shown = trainer(plan, max_train_steps=5, learning_rate=1e-2), []
    run = run_to_the_end(
        running, tmp_path / "run", plan, JUDGE, show=lambda images, evaluation: shown.append((evaluation.step, images))
    )
    assert [step for step, _ in shown] == [evaluation.step for evaluation in run.evaluations] == [2, 4, 5]
    images = generate_ages(running)
    assert [image.tobytes() for image in run.previews] == [image.tobytes() for image in images]
    expected = JUDGE.evaluate(5, images)
    assert run.evaluations[-1].similarities == pytest.approx(expected.similarities)
    assert run.evaluations[0].similarities != run.evaluations[-1].similarities


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_best_step_is_kept_with_the_weights_of_that_step(tmp_path, method):
    running = trainer(PreviewPlan(1), max_train_steps=3, learning_rate=1e-2, method=method)
    run = run_to_the_end(running, tmp_path / "run", PreviewPlan(1), FixedJudge({1: 0.3, 2: 0.8, 3: 0.5}))
    assert run.file == step_file(tmp_path / "run", 2) and read_subject(run.file).steps == 2
    assert read_subject(run.last).steps == 3
    shorter = trainer(PreviewPlan(0), max_train_steps=2, learning_rate=1e-2, method=method)
    expected = read_state_dict(run_to_the_end(shorter, tmp_path / "shorter", PreviewPlan(0)).file)
    best = read_state_dict(run.file)
    assert all(torch.equal(best[key], value) for key, value in expected.items())
    kept = step_file(tmp_path / "run", 1).is_file()
    assert kept == (method == "lora")  # a longer LoRA run continues from this one and may need the file
    assert not step_file(tmp_path / "run", 3).exists()


def test_a_preview_writes_nothing_after_another_process_took_over_the_run(tmp_path):
    def lost():
        raise LeaseLost("lost")

    running = trainer(PreviewPlan(1))
    previewer = Previewer(
        running, PreviewPlan(1), tmp_path, FixedJudge({0: 0.5}), write=lambda path: path.touch(), hold=lost
    )
    with pytest.raises(LeaseLost):
        previewer.preview()
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_patience_ended_counts_as_finished(tmp_path):
    judge = FixedJudge({1: 0.5, 2: 0.4, 3: 0.4, 4: 0.9})
    plan = PreviewPlan(1, patience=2)
    running = trainer(plan, max_train_steps=4)
    run = run_to_the_end(running, tmp_path / "run", plan, judge)
    assert (running.step_number, len(run.history), run.file) == (3, 3, step_file(tmp_path / "run", 1))
    again = run_to_the_end(trainer(plan, max_train_steps=4), tmp_path / "run", plan, judge)
    assert (again.resumed_at, again.evaluations, again.file) == (None, run.evaluations, run.file)


def test_an_interrupted_run_keeps_its_evaluations(tmp_path):
    def stop(progress):
        if progress.step == 3:
            raise StopTraining

    judge = FixedJudge({1: 0.3, 2: 0.8, 3: 0.5, 4: 0.6})
    with pytest.raises(StopTraining):
        run_to_the_end(trainer(PreviewPlan(1), max_train_steps=4), tmp_path / "run", PreviewPlan(1), judge, [stop])
    record = tmp_path / "run" / "looks.json"
    assert len(json.loads(record.read_text())) == 2  # stopped before the third preview
    run = run_to_the_end(trainer(PreviewPlan(1), max_train_steps=4), tmp_path / "run", PreviewPlan(1), judge)
    # The missing third preview is generated from the saved state.
    assert [evaluation.step for evaluation in run.evaluations] == [1, 2, 3, 4]
    assert read_subject(run.file).steps == 2
    assert [Evaluation(**entry) for entry in json.loads(record.read_text())] == run.evaluations


def test_a_resumed_run_ends_at_once_if_patience_had_run_out(tmp_path):
    def killed(images, evaluation):
        if evaluation.step == 2:
            raise KeyboardInterrupt

    plan, judge = PreviewPlan(1, patience=1), FixedJudge({1: 0.5, 2: 0.4})
    with pytest.raises(KeyboardInterrupt):
        run_to_the_end(trainer(plan), tmp_path / "run", plan, judge, show=killed)
    run = run_to_the_end(trainer(plan), tmp_path / "run", plan, judge)
    assert len(run.history) == 2 and [evaluation.step for evaluation in run.evaluations] == [1, 2]


def test_a_longer_lora_run_continues_with_the_evaluations_of_the_shorter(tmp_path):
    judge = FixedJudge({1: 0.9, 2: 0.4, 3: 0.5, 4: 0.6})
    for steps in (2, 4, 2):
        run = run_to_the_end(trainer(PreviewPlan(1), max_train_steps=steps), tmp_path / "run", PreviewPlan(1), judge)
        assert [evaluation.step for evaluation in run.evaluations] == list(range(1, steps + 1))
        assert read_subject(run.file).steps == 1

import json

import pytest
import torch

from tests.parts import ToyEmbedder, known_place, subject_set, tiny_trainer
from training.files import read_state_dict
from training.looks import Judge, Look
from training.previews import draw_ages, preview_prompts
from training.runs import finish, run_folder
from training.subject import read_subject
from training.trainer import StopTraining
from training.watcher import Watcher, step_file

JUDGE = Judge.of(subject_set(), ToyEmbedder(), known_place)


class Told:
    """A judge of whom the test says what is seen: identity by step."""

    name = "told"

    def __init__(self, identity):
        self.identity = identity

    def look(self, step, pictures):
        return Look(step, [self.identity[step]] * 6, [None] * 6)


def trainer(folder, **options):
    made = tiny_trainer(folder, **options)
    return tiny_trainer(folder, extra_prompts=tuple(preview_prompts(made.config)), **options)


def test_looks_come_every_so_often_and_after_the_last_step(tmp_path):
    running, shown = trainer(tmp_path, max_train_steps=5, learning_rate=1e-2), []
    watcher = Watcher(running, 2, JUDGE, show=lambda pictures, look: shown.append((look.step, pictures)))
    run = finish(running, tmp_path / "run", watcher)
    assert [step for step, _ in shown] == [look.step for look in run.looks] == [2, 4, 5]
    pictures = draw_ages(running)
    assert [picture.tobytes() for picture in run.previews] == [picture.tobytes() for picture in pictures]
    expected = JUDGE.look(5, pictures)
    assert run.looks[-1].similarities == pytest.approx(expected.similarities)
    assert run.looks[0].similarities != run.looks[-1].similarities


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_best_step_is_kept_as_it_was_then(tmp_path, method):
    running = trainer(tmp_path, max_train_steps=3, learning_rate=1e-2, method=method)
    run = finish(running, tmp_path / "run", Watcher(running, 1, Told({1: 0.3, 2: 0.8, 3: 0.5})))
    assert run.file == step_file(tmp_path / "run", 2) and read_subject(run.file).steps == 2
    assert read_subject(run.last).steps == 3
    shorter = trainer(tmp_path, max_train_steps=2, learning_rate=1e-2, method=method)
    expected = read_state_dict(finish(shorter, tmp_path / "shorter", Watcher(shorter, 0)).file)
    found = read_state_dict(run.file)
    assert all(torch.equal(found[key], value) for key, value in expected.items())
    kept = step_file(tmp_path / "run", 1).is_file()
    assert kept == (method == "lora")  # a longer run of a LoRA goes on from here, and may want it
    assert not step_file(tmp_path / "run", 3).exists()


def test_patience_ends_the_run_which_is_then_finished(tmp_path):
    seen = Told({1: 0.5, 2: 0.4, 3: 0.4, 4: 0.9})
    running = trainer(tmp_path, max_train_steps=4)
    run = finish(running, tmp_path / "run", Watcher(running, 1, seen, patience=2))
    assert (running.step_number, len(run.history), run.file) == (3, 3, step_file(tmp_path / "run", 1))
    again = trainer(tmp_path, max_train_steps=4)
    found = finish(again, tmp_path / "run", Watcher(again, 1, seen, patience=2))
    assert (found.resumed_at, found.looks, found.file) == (None, run.looks, run.file)


def test_an_interrupted_run_remembers_its_looks(tmp_path):
    def stop(progress):
        if progress.step == 3:
            raise StopTraining

    seen = Told({1: 0.3, 2: 0.8, 3: 0.5, 4: 0.6})
    first = trainer(tmp_path, max_train_steps=4)
    with pytest.raises(StopTraining):
        finish(first, tmp_path / "run", Watcher(first, 1, seen), [stop])
    second = trainer(tmp_path, max_train_steps=4)
    run = finish(second, tmp_path / "run", Watcher(second, 1, seen))
    assert [look.step for look in run.looks] == [1, 2, 4]  # Cancel came before the third look
    assert read_subject(run.file).steps == 2
    assert [Look(**look) for look in json.loads((tmp_path / "run" / "looks.json").read_text())] == run.looks


def test_who_judges_and_when_belongs_to_the_run(tmp_path):
    def folder(*how):
        made = trainer(tmp_path)
        if how:
            Watcher(made, *how)
        return run_folder(tmp_path / "runs", "anna", made)

    assert len({folder(), folder(2, JUDGE), folder(3, JUDGE), folder(2, JUDGE, 1)}) == 4
    assert folder(2) == folder(3) == folder()


def test_a_longer_run_of_a_lora_goes_on_with_the_looks_of_the_shorter(tmp_path):
    seen = Told({1: 0.9, 2: 0.4, 3: 0.5, 4: 0.6})
    for steps in (2, 4, 2):
        running = trainer(tmp_path, max_train_steps=steps)
        run = finish(running, tmp_path / "run", Watcher(running, 1, seen))
        assert [look.step for look in run.looks] == list(range(1, steps + 1))
        assert read_subject(run.file).steps == 1

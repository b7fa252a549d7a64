import contextlib
from dataclasses import replace

import pytest
import torch

from tests.parts import SIDE, ToyEmbedder, known_place, regularization_set, subject_set, tiny_model
from training.config import TrainingConfig
from training.dreambooth.trainer import StopTraining
from training.errors import MissingFile, NoFaceFound
from training.runs import session
from training.runs.build import FaceNetworks
from training.runs.evaluations import PreviewPlan
from training.runs.files import RunFiles
from training.runs.state import StateIsAhead


class Recorder:
    """A reporter that records every call and stops the training after step ``stop_after``."""

    def __init__(self, stop_after: int | None = None):
        self.said, self.warned, self.tasks, self.bars, self.previews, self.steps = [], [], [], [], 0, []
        self.stop_after = stop_after

    def say(self, *sentences):
        self.said += sentences

    def warn(self, *sentences):
        self.warned += sentences

    def begin(self, task):
        self.tasks.append((task, len(self.steps)))

    def bar(self, task):
        self.bars.append(task)
        return iter

    def show(self, images, evaluation):
        self.previews += 1

    def check(self):
        pass

    @contextlib.contextmanager
    def training(self, trainer):
        def callback(progress):
            self.steps.append(progress.step)
            if progress.step == self.stop_after:
                raise StopTraining

        yield callback


class Closable:
    """Opens a tiny model and records whether it was closed."""

    def __init__(self):
        self.closed = 0

    def __call__(self):
        model = tiny_model()
        model.close = self.close
        return model

    def close(self):
        self.closed += 1


def train(folder, reporter, model=None, faces=True, keeps_state=False, plan=None, regularization=None, **settings):
    settings = {"resolution": SIDE, "crop": "photo", "max_train_steps": 3, "learning_rate": 1e-3} | settings
    detector = known_place if faces else lambda image: []
    inputs = session.Inputs(
        photos=subject_set().photos,
        regularization=regularization or regularization_set(),
        open_model=model or Closable(),
        config=TrainingConfig(**settings),
        networks=FaceNetworks(detector, ToyEmbedder()),
        plan=plan,
    )
    files = RunFiles(folder / "anna.safetensors")
    return session.train(inputs, session.Outputs(lambda trainer: files, "anna", keeps_state=keeps_state), reporter)


def test_a_session_trains_and_the_next_one_reuses_the_finished_run(tmp_path):
    first, model = Recorder(), Closable()
    run = train(tmp_path, first, model, plan=PreviewPlan(2))
    assert first.steps == [1, 2, 3] and first.previews == 2
    assert first.bars[:2] == ["reading images", "finding faces"]
    assert [steps for _, steps in first.tasks] == [0, 0, 2, 3], "the model and its memory, then each preview"
    assert model.closed == 1
    assert any("3 photos" in sentence for sentence in first.said)
    assert {file.name for file in tmp_path.iterdir()} == {
        "anna.safetensors", "anna.json", "anna.png", "losses.csv", "curves.png"
    }  # fmt: skip
    second, model = Recorder(), Closable()
    again = train(tmp_path, second, model, plan=PreviewPlan(2))
    assert second.steps == [] and model.closed == 1
    assert again.history == run.history and again.resumed_at is None
    (tmp_path / "anna.png").unlink()
    with pytest.raises(MissingFile, match=r"anna\.png"):
        train(tmp_path, Recorder(), plan=PreviewPlan(2))


def test_a_photo_of_the_subject_in_the_regularization_set_gives_a_warning(tmp_path):
    others = regularization_set()
    shared = replace(others, photos=[replace(subject_set().photos[1], name="child_0.png"), *others.photos[1:]])
    reporters = {"clean": Recorder(), "shared": Recorder()}
    for name, regularization in (("clean", others), ("shared", shared)):
        train(tmp_path / name, reporters[name], regularization=regularization)
    warnings = {name: [said for said in each.warned if "child_0.png" in said] for name, each in reporters.items()}
    (warning,) = warnings["shared"]
    assert "1 of 3 photos" in warning and "1.png" in warning and warnings["clean"] == []


def test_a_stopped_session_resumes_to_the_bit(tmp_path):
    whole = train(tmp_path / "whole", Recorder())
    with pytest.raises(StopTraining):
        train(tmp_path / "stopped", Recorder(stop_after=2))
    rest = Recorder()
    resumed = train(tmp_path / "stopped", rest)
    assert rest.steps == [3] and resumed.resumed_at == 2
    assert any("step 2" in sentence for sentence in rest.said)
    assert resumed.history == whole.history
    assert resumed.file.read_bytes()[-1000:] == whole.file.read_bytes()[-1000:]


def test_a_state_past_the_last_step_is_an_error_unless_states_are_kept(tmp_path):
    with pytest.raises(StopTraining):
        train(tmp_path, Recorder(stop_after=2))
    with pytest.raises(StateIsAhead):
        train(tmp_path, Recorder(), max_train_steps=1)
    assert train(tmp_path, Recorder(), max_train_steps=1, keeps_state=True).resumed_at == 0


def test_the_model_is_closed_if_the_photos_show_no_face(tmp_path):
    model = Closable()
    with pytest.raises(NoFaceFound, match=r"\b3\b"):
        train(tmp_path, Recorder(), model, faces=False)
    assert model.closed == 1
    assert not list(tmp_path.iterdir())


def test_running_out_of_memory_names_the_step_and_the_setting_to_change(tmp_path):
    class Full(Recorder):
        @contextlib.contextmanager
        def training(self, trainer):
            def callback(progress):
                raise torch.OutOfMemoryError

            yield callback

    with pytest.raises(session.OutOfMemory, match=r"\b2\b.*gradient_checkpointing"):
        train(tmp_path, Full())
    assert (tmp_path / "training-state.pt").is_file()

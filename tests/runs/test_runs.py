from dataclasses import replace

import pytest
import torch

from tests.parts import (
    FACE,
    NO_PREVIEWS,
    SIDE,
    ToyEmbedder,
    known_place,
    picture,
    regularization_set,
    run_to_the_end,
    subject_set,
    tiny_model,
    tiny_trainer,
    weights,
)
from tests.tiny import tiny_checkpoint
from training.config import TrainingConfig
from training.data.dataset import RegularizationSet
from training.dreambooth.trainer import StopTraining
from training.faces.observation import Observer
from training.models.stable_diffusion.checkpoint import model_from_state_dict
from training.models.stable_diffusion.families import SD1
from training.models.stable_diffusion.keys import UNET_PREFIX, VAE_PREFIX
from training.models.subject import read_subject
from training.pictures.photos import Photo
from training.runs.build import FaceNetworks, build_trainer
from training.runs.evaluations import PreviewPlan
from training.runs.files import run_files
from training.runs.previews import generate_ages
from training.runs.state import run_id


def trainer(**options):
    return tiny_trainer(previews=NO_PREVIEWS, **options)


def test_previews_show_six_ages_from_one_noise_and_change_with_training():
    running = trainer(learning_rate=1e-2)
    before, again = generate_ages(running), generate_ages(running)
    running.run()
    after = generate_ages(running)
    assert [image.size for image in after] == [(SIDE, SIDE)] * 6
    assert [image.tobytes() for image in before] == [image.tobytes() for image in again]
    assert before[0].tobytes() != after[0].tobytes()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_finished_run_is_reused_and_not_trained_again(tmp_path, method):
    first = run_to_the_end(trainer(method=method), tmp_path / "run")
    again = trainer(method=method)
    again.step = None  # a step would fail
    second = run_to_the_end(again, tmp_path / "run")
    assert (first.resumed_at, second.resumed_at) == (0, None)
    assert second.history == first.history and len(second.history) == 3
    assert [image.tobytes() for image in second.previews] == [image.tobytes() for image in first.previews]
    assert read_subject(second.file).steps == 3


def test_an_interrupted_run_resumes(tmp_path):
    def stop(progress):
        if progress.step == 2:
            raise StopTraining

    with pytest.raises(StopTraining):
        run_to_the_end(trainer(), tmp_path / "run", callbacks=[stop])
    resumed = trainer()
    assert run_to_the_end(resumed, tmp_path / "run").resumed_at == 2
    whole = trainer()
    whole.run()
    expected = weights(whole)
    assert all(torch.equal(expected[name], weight) for name, weight in weights(resumed).items())


def test_more_steps_continue_a_finished_run_and_fewer_start_again(tmp_path):
    run_to_the_end(trainer(max_train_steps=3), tmp_path / "run")
    assert run_to_the_end(trainer(max_train_steps=5), tmp_path / "run").resumed_at == 3
    shorter = run_to_the_end(trainer(max_train_steps=2), tmp_path / "run")
    assert shorter.resumed_at == 0
    assert len(shorter.history) == 2


def test_a_runs_folder_depends_on_its_inputs_and_not_on_its_name(tmp_path):
    def folder(name, **settings):
        return run_files(tmp_path / "runs", name, run_id(trainer(**settings)), 3).folder

    first = folder("anna")
    first.mkdir(parents=True)
    assert first.name == f"anna_{run_id(trainer())}"
    assert folder("bea", max_train_steps=9, checkpointing_steps=1) == first
    for other in ({"rank": 8}, {"loss": "cosine"}, {"seed": 1}, {"learning_rate": 2e-3}):
        assert folder("bea", **other) != first


def _model(change=lambda state: None, prediction_type=None, name="tiny.safetensors"):
    state = tiny_checkpoint(SD1)
    change(state)
    return model_from_state_dict(state, name, prediction_type)


def _nudged(prefix):
    def change(state):
        key = next(key for key in state if key.startswith(prefix) and key.endswith("weight"))
        state[key] = state[key] * (1 + 2**-20)  # lost in half precision

    return change


def _rescaled(model):
    model.denoiser.alphas_cumprod *= 0.9
    return model


class OtherEmbedder(ToyEmbedder):
    """An embedder with the same name and other weights."""

    def __init__(self):
        super().__init__()
        self.second.data *= 1.5


class WideEmbedder(ToyEmbedder):
    """With as many dimensions as FaceNet."""

    def __init__(self):
        super().__init__()
        self.second = torch.nn.Parameter(self.second.repeat(86, 1)[:512], requires_grad=False)


def _subject(change):
    subject = subject_set()
    return replace(subject, **change(subject))


CHANGES = {  # everything that affects a step, changed one at a time
    "UNet": {"model": lambda: _model(_nudged(UNET_PREFIX))},
    "VAE": {"model": lambda: _model(_nudged(VAE_PREFIX))},
    "text encoder": {"model": lambda: _model(_nudged(SD1.towers[0].prefix))},
    "prediction type": {"model": lambda: _model(prediction_type="v_prediction")},
    "noise schedule": {"model": lambda: _rescaled(_model())},
    "a photo": {"subject": lambda: _subject(lambda s: {"photos": [Photo("0.png", picture(9)), *s.photos[1:]]})},
    "one photo fewer": {"subject": lambda: subject_set(2)},
    "a face": {"subject": lambda: subject_set(faces=[None, FACE, FACE])},
    "a regularization image": {"regularization": lambda: _aged(photo=Photo("child_0.png", picture(7)))},
    "an age": {"regularization": lambda: _aged(age="old")},
    "no regularization set": {"regularization": lambda: None},
    "embedder": {"embedder": OtherEmbedder},
    "decoder": {"tiny_vae": lambda: tiny_model(tiny_vae=True).codec},
    "decode probability": {"decode_probability": lambda: lambda t, timesteps: t * 0 + 0.3},
    "precision": {"config": {"mixed_precision": "bf16"}},
    "prompt": {"config": {"instance_prompt": "picture of a {token} {class_word}"}},
    "token": {"config": {"token": "ohwx"}},
    "class word": {"config": {"class_word": "woman"}},
    "resolution": {"config": {"resolution": 128}},
    "judge": {"previews": lambda: PreviewPlan(2, Observer(known_place, ToyEmbedder()))},
    "weights of the judge": {"previews": lambda: PreviewPlan(2, Observer(known_place, OtherEmbedder()))},
    "patience": {"previews": lambda: PreviewPlan(2, Observer(known_place, ToyEmbedder()), 3)},
}


def _aged(photo=None, age=None):
    original = regularization_set()
    photos, ages = list(original.photos), list(original.ages)
    photos[0], ages[0] = photo or photos[0], age or ages[0]
    return RegularizationSet(photos, ages)


def _run_id(changes):
    return run_id(_built(changes))


def _built(changes):
    settings = {"resolution": SIDE, "crop": "photo", "max_train_steps": 3, "learning_rate": 1e-3}
    parts = {"model": _model, "subject": subject_set, "regularization": regularization_set, "embedder": ToyEmbedder}
    parts |= {name: make for name, make in changes.items() if name != "config"}
    arguments = {name: make() for name, make in parts.items()}
    networks = FaceNetworks(known_place, arguments.pop("embedder"), tiny_vae=arguments.pop("tiny_vae", None))
    config = TrainingConfig(**settings | changes.get("config", {}))
    return build_trainer(config=config, networks=networks, **arguments)


def test_runs_with_different_results_have_different_ids():
    ids = {name: _run_id(changes) for name, changes in CHANGES.items()} | {"unchanged": _run_id({})}
    assert len(set(ids.values())) == len(ids), ids
    assert _run_id({"model": lambda: _model(name="a copy.safetensors")}) == ids["unchanged"]
    assert _run_id({"previews": lambda: PreviewPlan(5)}) == ids["unchanged"]  # previews without a judge


def test_only_the_loss_that_was_scaled_has_new_run_ids():
    """The biometric loss is the paper's for FaceNet's 512 dimensions and scaled for all others."""
    facenet, other = _built({"embedder": WideEmbedder}).inputs, _built({}).inputs
    triplet = _built({"config": {"loss": "triplet"}}).inputs
    assert facenet.keys() == triplet.keys()
    assert [other[name] for name in other.keys() - facenet.keys()] == [6]


def test_a_model_has_the_same_hash_in_half_precision():
    half = {key: value.half() for key, value in tiny_checkpoint(SD1).items()}
    assert model_from_state_dict(half, "half.safetensors").sha256 == tiny_model().sha256

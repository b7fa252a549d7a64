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


def test_previews_are_six_ages_from_one_noise_that_change_as_it_trains():
    running = trainer(learning_rate=1e-2)
    before, again = generate_ages(running), generate_ages(running)
    running.run()
    after = generate_ages(running)
    assert [picture.size for picture in after] == [(SIDE, SIDE)] * 6
    assert [picture.tobytes() for picture in before] == [picture.tobytes() for picture in again]
    assert before[0].tobytes() != after[0].tobytes()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_finished_run_is_found_and_not_trained_again(tmp_path, method):
    first = run_to_the_end(trainer(method=method), tmp_path / "run")
    again = trainer(method=method)
    again.step = None  # a step would fail
    found = run_to_the_end(again, tmp_path / "run")
    assert (first.resumed_at, found.resumed_at) == (0, None)
    assert found.history == first.history and len(found.history) == 3
    assert [picture.tobytes() for picture in found.previews] == [picture.tobytes() for picture in first.previews]
    assert read_subject(found.file).steps == 3


def test_an_interrupted_run_goes_on(tmp_path):
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


def test_more_steps_go_on_from_a_finished_run_and_fewer_start_anew(tmp_path):
    run_to_the_end(trainer(max_train_steps=3), tmp_path / "run")
    assert run_to_the_end(trainer(max_train_steps=5), tmp_path / "run").resumed_at == 3
    shorter = run_to_the_end(trainer(max_train_steps=2), tmp_path / "run")
    assert shorter.resumed_at == 0
    assert len(shorter.history) == 2


def test_a_run_is_known_by_its_inputs_and_not_by_its_name(tmp_path):
    def folder(name, **settings):
        return run_files(tmp_path / "runs", name, run_id(trainer(**settings)), 3).folder

    made = folder("anna")
    made.mkdir(parents=True)
    assert made.name == f"anna_{run_id(trainer())}"
    assert folder("bea", max_train_steps=9, checkpointing_steps=1) == made
    for other in ({"rank": 8}, {"loss": "cosine"}, {"seed": 1}, {"learning_rate": 2e-3}):
        assert folder("bea", **other) != made


def _model(change=lambda state: None, kind=None, name="tiny.safetensors"):
    state = tiny_checkpoint(SD1)
    change(state)
    return model_from_state_dict(state, name, kind)


def _nudged(prefix):
    def change(state):
        key = next(key for key in state if key.startswith(prefix) and key.endswith("weight"))
        state[key] = state[key] * (1 + 2**-20)  # which half precision does not see

    return change


def _rescaled(model):
    model.denoiser.alphas_cumprod *= 0.9
    return model


class OtherEmbedder(ToyEmbedder):
    """The same name, other weights."""

    def __init__(self):
        super().__init__()
        self.second.data *= 1.5


class WideEmbedder(ToyEmbedder):
    """With as many dimensions as FaceNet."""

    def __init__(self):
        super().__init__()
        self.second = torch.nn.Parameter(self.second.repeat(86, 1)[:512], requires_grad=False)


def _subject(change):
    known = subject_set()
    return replace(known, **change(known))


EVERYTHING = {  # that enters a step, changed one at a time
    "UNet": {"model": lambda: _model(_nudged(UNET_PREFIX))},
    "VAE": {"model": lambda: _model(_nudged(VAE_PREFIX))},
    "text encoder": {"model": lambda: _model(_nudged(SD1.towers[0].prefix))},
    "prediction type": {"model": lambda: _model(kind="v_prediction")},
    "noise schedule": {"model": lambda: _rescaled(_model())},
    "a photo": {"subject": lambda: _subject(lambda s: {"photos": [Photo("0.png", picture(9)), *s.photos[1:]]})},
    "a photo less": {"subject": lambda: subject_set(2)},
    "a face": {"subject": lambda: subject_set(faces=[None, FACE, FACE])},
    "an age picture": {"regularization": lambda: _aged(photo=Photo("child_0.png", picture(7)))},
    "an age": {"regularization": lambda: _aged(age="old")},
    "no age set": {"regularization": lambda: None},
    "embedder": {"embedder": OtherEmbedder},
    "decoder": {"tiny_vae": lambda: tiny_model(tiny_vae=True).codec},
    "where faces are decoded": {"decode_probability": lambda: lambda t, timesteps: t * 0 + 0.3},
    "precision": {"config": {"mixed_precision": "bf16"}},
    "prompt": {"config": {"instance_prompt": "picture of a {token} {class_word}"}},
    "token": {"config": {"token": "ohwx"}},
    "class word": {"config": {"class_word": "woman"}},
    "side": {"config": {"resolution": 128}},
    "who judges": {"previews": lambda: PreviewPlan(2, Observer(known_place, ToyEmbedder()))},
    "who judges, by weights": {"previews": lambda: PreviewPlan(2, Observer(known_place, OtherEmbedder()))},
    "patience": {"previews": lambda: PreviewPlan(2, Observer(known_place, ToyEmbedder()), 3)},
}


def _aged(photo=None, age=None):
    known = regularization_set()
    photos, ages = list(known.photos), list(known.ages)
    photos[0], ages[0] = photo or photos[0], age or ages[0]
    return RegularizationSet(photos, ages)


def _run_id(changes):
    return run_id(_built(changes))


def _built(changes):
    settings = {"resolution": SIDE, "crop": "photo", "max_train_steps": 3, "learning_rate": 1e-3}
    parts = {"model": _model, "subject": subject_set, "regularization": regularization_set, "embedder": ToyEmbedder}
    parts |= {name: make for name, make in changes.items() if name != "config"}
    made = {name: make() for name, make in parts.items()}
    networks = FaceNetworks(known_place, made.pop("embedder"), tiny_vae=made.pop("tiny_vae", None))
    config = TrainingConfig(**settings | changes.get("config", {}))
    return build_trainer(config=config, networks=networks, **made)


def test_two_runs_that_would_give_different_weights_never_share_an_id():
    known = {what: _run_id(changes) for what, changes in EVERYTHING.items()} | {"as it was": _run_id({})}
    assert len(set(known.values())) == len(known), known
    assert _run_id({"model": lambda: _model(name="a copy.safetensors")}) == known["as it was"]
    assert _run_id({"previews": lambda: PreviewPlan(5)}) == known["as it was"]  # previews that nobody judges


def test_only_the_loss_that_was_scaled_has_new_run_ids():
    """The biometric loss is the paper's for FaceNet's 512 dimensions and scaled for all others."""
    facenet, other = _built({"embedder": WideEmbedder}).inputs, _built({}).inputs
    triplet = _built({"config": {"loss": "triplet"}}).inputs
    assert facenet.keys() == triplet.keys()
    assert [other[name] for name in other.keys() - facenet.keys()] == [6]


def test_the_model_is_known_in_half_precision_too():
    half = {key: value.half() for key, value in tiny_checkpoint(SD1).items()}
    assert model_from_state_dict(half, "half.safetensors").sha256 == tiny_model().sha256

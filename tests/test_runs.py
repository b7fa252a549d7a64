import pytest
import torch

from tests.parts import SIDE, tiny_model, tiny_trainer, weights
from tests.tiny import tiny_checkpoint
from training.checkpoint import model_from_state_dict
from training.families import SD1
from training.layout import UNET_PREFIX, VAE_PREFIX
from training.previews import draw_ages, preview_prompts
from training.runs import finish, run_folder
from training.subject import read_subject
from training.trainer import StopTraining
from training.watcher import Watcher


def trainer(folder, **options):
    made = tiny_trainer(folder, **options)
    prompts = preview_prompts(made.config)
    return tiny_trainer(folder, extra_prompts=prompts, **options)


def end(trainer, folder, callbacks=(), every=0, **options):
    return finish(trainer, folder, Watcher(trainer, every, **options), callbacks)


def test_previews_are_six_ages_from_one_noise_that_change_as_it_trains(tmp_path):
    running = trainer(tmp_path, learning_rate=1e-2)
    before, again = draw_ages(running), draw_ages(running)
    running.run()
    after = draw_ages(running)
    assert [picture.size for picture in after] == [(SIDE, SIDE)] * 6
    assert [picture.tobytes() for picture in before] == [picture.tobytes() for picture in again]
    assert before[0].tobytes() != after[0].tobytes()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_finished_run_is_found_and_not_trained_again(tmp_path, method):
    first = end(trainer(tmp_path, method=method), tmp_path / "run")
    again = trainer(tmp_path, method=method)
    again.step = None  # a step would fail
    found = end(again, tmp_path / "run")
    assert (first.resumed_at, found.resumed_at) == (0, None)
    assert found.history == first.history and len(found.history) == 3
    assert [picture.tobytes() for picture in found.previews] == [picture.tobytes() for picture in first.previews]
    assert read_subject(found.file).steps == 3


def test_an_interrupted_run_goes_on(tmp_path):
    def stop(progress):
        if progress.step == 2:
            raise StopTraining

    with pytest.raises(StopTraining):
        end(trainer(tmp_path), tmp_path / "run", [stop])
    resumed = trainer(tmp_path)
    assert end(resumed, tmp_path / "run").resumed_at == 2
    whole = trainer(tmp_path)
    whole.run()
    expected = weights(whole)
    assert all(torch.equal(expected[name], weight) for name, weight in weights(resumed).items())


def test_more_steps_go_on_from_a_finished_run_and_fewer_start_anew(tmp_path):
    end(trainer(tmp_path, max_train_steps=3), tmp_path / "run")
    assert end(trainer(tmp_path, max_train_steps=5), tmp_path / "run").resumed_at == 3
    shorter = end(trainer(tmp_path, max_train_steps=2), tmp_path / "run")
    assert shorter.resumed_at == 0
    assert len(shorter.history) == 2


def test_a_run_is_known_by_its_inputs_and_not_by_its_name(tmp_path):
    made = trainer(tmp_path)
    folder = run_folder(tmp_path / "runs", "anna", made)
    folder.mkdir(parents=True)
    assert folder.name == f"anna_{made.run_id}"
    assert run_folder(tmp_path / "runs", "bea", trainer(tmp_path, max_train_steps=9, checkpointing_steps=1)) == folder
    for other in ({"rank": 8}, {"loss": "cosine"}, {"seed": 1}, {"learning_rate": 2e-3}):
        assert run_folder(tmp_path / "runs", "bea", trainer(tmp_path, **other)) != folder


def test_every_part_of_the_model_and_every_photo_belongs_to_the_run(tmp_path):
    known = trainer(tmp_path).run_id
    for prefix in (UNET_PREFIX, VAE_PREFIX, SD1.towers[0].prefix):
        state = tiny_checkpoint(SD1)
        key = next(key for key in state if key.startswith(prefix) and key.endswith("weight"))
        state[key] = state[key] + 1
        assert tiny_trainer(tmp_path, model_from_state_dict(state, "tiny.safetensors")).run_id != known, key
    assert tiny_trainer(tmp_path, model_from_state_dict(tiny_checkpoint(SD1), "a copy.safetensors")).run_id == known


def test_the_model_is_known_in_half_precision_too():
    half = {key: value.half() for key, value in tiny_checkpoint(SD1).items()}
    assert model_from_state_dict(half, "half.safetensors").sha256 == tiny_model().sha256

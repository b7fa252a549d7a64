"""Training of the synthetic world: resuming, captions, and the resulting checkpoint."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lab.world import autoencoder, base, loop, train_matchers
from lab.world.base import BaseModel
from lab.world.pool import pixels, pool
from lab.world.ship import learned
from lab.world.verify import verification
from training.models.stable_diffusion.checkpoint import model_from_state_dict
from training.models.stable_diffusion.families import SD1
from training.models.stable_diffusion.keys import unet_keys
from training.models.stable_diffusion.model import model_to_state_dict, vae_to_state_dict
from training.models.stable_diffusion.text import tokenize
from training.world.captions import RARE, SPREAD, Words, caption, filler, vocabulary
from training.world.model import checkpoint
from training.world.networks import AgeNetwork


class Interrupted(Exception):
    pass


def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "SAVE_SECONDS", 0)

    def train(file, stop_at=None):
        calls = []

        def loss(module, generator):
            calls.append(1)
            if len(calls) == stop_at:
                raise Interrupted
            return {"error": (module(torch.randn(8, 3, generator=generator)) - 1).square().mean()}

        torch.manual_seed(0)
        return loop.run(nn.Linear(3, 1), loss, file, steps=6, rate=0.1, seed=5).state_dict()

    whole = train(tmp_path / "whole.pt")
    with pytest.raises(Interrupted):
        train(tmp_path / "parts.pt", stop_at=4)
    resumed = train(tmp_path / "parts.pt")
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_a_pool_is_rendered_once_and_reused(tmp_path, monkeypatch):
    first = pool(tmp_path, 50, 6, 3, True, torch.device("cpu"))
    assert first.people.tolist() == [0, 0, 0, 1, 1, 1] and first.pictures.dtype == torch.uint8
    assert -1 <= pixels(first.pictures).min() < pixels(first.pictures).max() <= 1
    monkeypatch.setattr("lab.world.pool.draw", None)
    assert torch.equal(pool(tmp_path, 50, 6, 3, True, torch.device("cpu")).pictures, first.pictures)


def test_captions_are_the_methods_prompts():
    random = np.random.default_rng(0)
    captions = {caption(60, random) for _ in range(400)}
    assert captions == {
        "", "photo of a person", f"photo of a {RARE} person", "photo of a elderly", "photo of a 60-year-old",
        "photo of a person as elderly", "photo of a person as 60-year-old", f"photo of a {RARE} person as elderly",
        f"photo of a {RARE} person as 60-year-old",
    }  # fmt: skip


def test_every_word_of_a_caption_is_in_the_vocabulary():
    random, token_ids = np.random.default_rng(1), set(vocabulary())
    for years in range(0, 101, 5):
        texts = [caption(years, random).replace(f"{RARE} ", "") for _ in range(20)]
        assert set(tokenize(texts, SD1.towers[0].pad_token).flatten().tolist()) <= token_ids


def test_all_steps_from_images_to_shipped_weights(tmp_path):
    autoencoder.train(tmp_path, steps=2, batch_size=4, pictures=4, seed=0)
    trained = base.train(tmp_path, steps=1, batch_size=2, pictures=4, rate=1e-4, seed=0)
    state = learned(tmp_path)
    assert all(value.dtype == torch.float16 for name, value in state.items() if name != "words.ids")
    first = trained.unet.conv_in.weight
    torch.testing.assert_close(
        state["model.diffusion_model.input_blocks.0.0.weight"].float(), first, atol=1e-3, rtol=1e-3
    )
    train_matchers.train("age", tmp_path, tmp_path / "weights", pictures=4, steps=2, batch_size=4)
    AgeNetwork().load_state_dict(load_file(tmp_path / "weights" / "age.safetensors"))


@pytest.fixture(scope="module")
def untrained():
    torch.manual_seed(2)
    from diffusers import AutoencoderTiny

    return BaseModel().eval().requires_grad_(False), AutoencoderTiny().eval()


@pytest.fixture(scope="module")
def weights(untrained):
    module, vae = untrained
    unet = {name: value.contiguous() for name, value in module.unet.state_dict().items()}
    state = {theirs: unet[ours] for ours, theirs in unet_keys(module.unet).items()} | vae_to_state_dict(vae)
    state |= {"words.embeddings": module.words.embeddings * SPREAD, "words.positions": module.words.positions}
    return state | {"words.ids": torch.tensor(module.words.ids)}


@torch.no_grad()
def test_the_checkpoint_computes_the_same_as_the_trained_modules(untrained, weights):
    module, vae = untrained
    model = model_from_state_dict(checkpoint(weights), "world.safetensors")
    assert model.family is SD1 and model.denoiser.prediction_type == "epsilon" and model.codec.is_tiny
    prompts = ["photo of a person as elderly", "photo of a 45-year-old", ""]
    hidden = model.denoiser.text(prompts).hidden
    torch.testing.assert_close(hidden, module.words(prompts, np.random.default_rng(0)), atol=2e-3, rtol=0)
    x, t = torch.randn(3, 4, 8, 8), torch.tensor([20, 500, 980])
    torch.testing.assert_close(
        model.denoiser.predict(x, t, model.denoiser.text(prompts)), module.unet(x, t, hidden).sample
    )
    torch.testing.assert_close(model.codec.decode(x), vae.decode(x).sample)
    assert model_to_state_dict(model).keys() == checkpoint(weights).keys()


@torch.no_grad()
def test_a_rare_token_has_the_checkpoints_embedding(weights, untrained):
    rare = tokenize(["sks"], 0)[0, 1].item()
    assert rare not in vocabulary()
    table = checkpoint(weights)["cond_stage_model.transformer.text_model.embeddings.token_embedding.weight"]
    torch.testing.assert_close(table[rare].float(), filler([rare])[0], atol=1e-4, rtol=1e-3)
    assert table.float().std().item() == pytest.approx(SPREAD, rel=0.02)


def test_different_rare_tokens_change_only_their_own_position():
    words = Words()
    both = words([f"photo of a {RARE} person"] * 2, np.random.default_rng(0))
    differing = (both[0] != both[1]).any(1)
    assert differing.nonzero().flatten().tolist() == [4]


def test_verification_against_pairs_counted_by_hand():
    angles = torch.tensor([0.0, 10, 90, 130]).deg2rad()
    vectors = torch.stack([angles.cos(), angles.sin()], 1).double()
    result = verification(vectors, torch.tensor([0, 0, 1, 1]))
    assert (result["mated_comparisons"], result["non_mated_comparisons"]) == (2, 4)
    # Mated cosines .985 and .766; non-mated at 80, 90, 120 and 130 degrees are all below.
    assert result["EER"] == 0 and result["FNMR@FMR0.01"] is None, "four pairs cannot support an FMR of 1 %"
    assert result["mated_mean"] == pytest.approx((0.98481 + 0.76604) / 2, abs=1e-4)
    crossed = verification(
        vectors, torch.tensor([0, 1, 0, 1])
    )  # mated at 90 and 120 degrees, non-mated at 10, 40, 80, 130
    assert crossed["EER"] == (3 / 4 + 1 / 2) / 2
    json.dumps(result)


def test_the_exported_checkpoint_opens(weights, tmp_path):
    from training.models.stable_diffusion.checkpoint import open_model

    save_file(checkpoint({key: value.half() if value.is_floating_point() else value for key, value in weights.items()}),
              tmp_path / "world.safetensors")  # fmt: skip
    assert open_model(tmp_path / "world.safetensors").family is SD1

import itertools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.parts import SIDE, tiny_model, tiny_trainer, weights
from training.config import LOSSES
from training.models.interface import starting_noise
from training.models.stable_diffusion.families import FAMILIES, SD1
from training.models.stable_diffusion.model import vae_to_state_dict
from training.models.stable_diffusion.sampler import PRESETS, sample
from training.runs.evaluations import PreviewPlan

REPOSITORY = Path(__file__).parent.parent.parent


def decoding_batch(trainer):
    """The first batch with a decoded face."""
    return next(batch for number in itertools.count() if len((batch := trainer.data.sample(number)).decode))


@pytest.mark.parametrize("loss", ["biometric", "triplet"])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_identity_gradient_reaches_every_trainable_tensor(loss, method):
    trainer = tiny_trainer(loss=loss, method=method, train_text_encoder=True, triplet_margin=2.0)
    with torch.no_grad():
        for name, weight in trainer.trainable.items():
            if "lora_B" in name:
                weight.normal_(std=0.02)  # B of a fresh LoRA is zero, which would make the gradient of A zero too
    trainer.terms(decoding_batch(trainer)).losses[loss].backward()
    no_effect = {"k_proj.bias"}  # softmax ignores a constant added to every key
    without_gradient = [
        name
        for name, weight in trainer.trainable.items()
        if (weight.grad is None or not weight.grad.any()) and not any(part in name for part in no_effect)
    ]
    assert without_gradient == []


@pytest.mark.parametrize("loss", ["biometric", "triplet"])
def test_the_identity_gradient_agrees_with_a_finite_difference(loss):
    trainer = tiny_trainer(loss=loss, method="full", train_text_encoder=False, triplet_margin=2.0)
    core, reader, batch = trainer.core, trainer.face_reader, decoding_batch(trainer)
    for module in (core, reader.codec, reader.embedder):
        module.double()
    core.text.frozen_cache = {
        prompt: replace(cached, hidden=cached.hidden.double()) for prompt, cached in core.text.frozen_cache.items()
    }
    batch = replace(
        batch,
        **{name: getattr(batch, name).double() for name in ("x_0", "noise", "squares", "references", "negatives")},
    )
    weight = core.unet.conv_out.weight
    trainer.terms(batch).losses[loss].backward()
    direction = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    analytic = (weight.grad * direction).sum().item()

    values, step = [], 1e-6
    with torch.no_grad():
        for sign in (1, -2):
            weight += sign * step * direction
            values.append(trainer.terms(batch).losses[loss].item())
    assert analytic == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)
    assert abs(analytic) > 1e-6


@pytest.mark.parametrize(("first", "last"), [(0.0, 0.9), (0.9, 1.0)])
def test_an_expert_decodes_faces_as_often_as_the_whole_model_at_its_noise_levels(first, last):
    model = tiny_model()
    model.denoiser.quantiles = first, last
    trainer = tiny_trainer(model, train_batch_size=4)
    decoded = sum(len(trainer.data.sample(number).decode) for number in range(300)) / 1200
    expected = ((1 - first) ** 3 - (1 - last) ** 3) / (3 * (last - first))  # the mean of (1 - u)^2 from first to last
    assert decoded == pytest.approx(expected, abs=0.04)


def test_the_expected_gradient_of_random_decodes_is_that_of_the_weighted_loss():
    """Compares the average over all outcomes of two decode decisions with the weighted sum."""
    trainer = tiny_trainer(method="full", train_batch_size=2, random_flip=False)
    batch = next(batch for number in itertools.count() if len((batch := trainer.data.sample(number)).decode) == 2)
    core, weight = trainer.core, trainer.core.unet.conv_out.weight

    def gradient(loss):
        return torch.autograd.grad(loss, weight)[0]

    probability = (1 - batch.t[:2].double() / 1000) ** 2
    expected = torch.zeros_like(weight)
    for outcome in ([0], [1], [0, 1]):
        chance = 1.0
        for place in (0, 1):
            chance *= probability[place] if place in outcome else 1 - probability[place]
        parts = {name: getattr(batch, name)[outcome] for name in ("decode", "squares", "references")}
        expected += chance.float() * gradient(trainer.terms(replace(batch, **parts)).losses["biometric"])

    x_t = core.noised(batch.x_0, batch.noise, batch.t)
    x_0 = core.predicted_x0(core(x_t, batch.t, batch.prompts), x_t, batch.t)[:2]
    distances = (trainer.face_reader(x_0, batch.squares, batch.landmarks) - batch.references).abs().sum(dim=1)
    scaled = (512 / 6) ** 0.5 * distances  # of embeddings with 6 dimensions instead of FaceNet's 512
    weighted = gradient((probability.float() * scaled).sum() / 2)
    assert (expected - weighted).norm() < 1e-4 * weighted.norm()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("method", ["lora", "full"])
def test_every_loss_and_method_trains(loss, method):
    trainer = tiny_trainer(loss=loss, method=method, max_train_steps=4)
    before, progress_reports = weights(trainer), []
    trainer.run(callbacks=[progress_reports.append])
    assert [progress.step for progress in progress_reports] == [1, 2, 3, 4]
    assert any(not torch.equal(before[name], weight) for name, weight in weights(trainer).items())
    if loss != "none":
        assert any(loss in progress.losses for progress in progress_reports)


def test_a_single_photo_is_learned():
    """Training on one batch with fixed noise and t lowers its reconstruction loss."""
    trainer = tiny_trainer(loss="none", method="full", regularized=False, learning_rate=3e-3)
    batch = trainer.data.sample(0)
    trainer.data.sample = lambda *_: batch
    first = trainer.step()["reconstruction"]
    for _ in range(30):
        last = trainer.step()["reconstruction"]
    assert last < 0.5 * first


def test_only_the_same_seed_gives_the_same_bits():
    results = []
    for seed in (5, 5, 6):
        trainer = tiny_trainer(seed=seed)
        trainer.run()
        results.append(weights(trainer))
    same, other = ({name: torch.equal(results[0][name], result[name]) for name in result} for result in results[1:])
    assert all(same.values())
    assert not any(other.values())


TWO_PROCESSES = """
import sys, torch
from pathlib import Path
from tests.parts import SHAPED_SIDE, run, shaped_subject, tiny_trainer, weights
folder, batch = Path(sys.argv[1]), int(sys.argv[2])
reward = {"reward_every": 2, "reward_start": 0.0, "reward_pictures": batch, "reward_age": 0.0}
shapes = {"subject": shaped_subject(), "crop": "aspect", "resolution": SHAPED_SIDE}
trainer = tiny_trainer(train_batch_size=batch, max_train_steps=4, checkpointing_steps=2, **reward, **shapes)
run(trainer, folder / "state.pt")
if trainer.accelerator.is_main_process:
    torch.save(weights(trainer), folder / "weights.pt")
"""


def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(TWO_PROCESSES)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    results = {}
    for name, batch, launcher in (
        ("one", 2, []),
        ("two", 1, ["-m", "torch.distributed.run", "--nproc-per-node", "2"]),  # as accelerate launch does on GPUs
    ):
        folder = tmp_path / name
        folder.mkdir()
        subprocess.run(
            [sys.executable, *launcher, str(script), str(folder), str(batch)],
            check=True,
            env=environment,
            cwd=REPOSITORY,
        )
        results[name] = torch.load(folder / "weights.pt")
    assert results["one"].keys() == results["two"].keys()
    for name, weight in results["one"].items():
        # Training changes the weights by 4e-3.
        torch.testing.assert_close(results["two"][name], weight, rtol=0, atol=1e-4, msg=name)


def test_a_max_grad_norm_of_0_disables_clipping():
    unclipped, high_limit = (tiny_trainer(max_grad_norm=norm, max_train_steps=2) for norm in (0.0, 1e9))
    for trainer in (unclipped, high_limit):
        trainer.run()
    assert all(torch.equal(weights(high_limit)[name], weight) for name, weight in weights(unclipped).items())


def test_accumulated_batches_count_as_one_step():
    trainer = tiny_trainer(gradient_accumulation_steps=3, max_train_steps=2)
    numbers, sample_batch = [], trainer.data.sample
    trainer.data.sample = lambda number, *rest: numbers.append(number) or sample_batch(number, *rest)
    trainer.run()
    assert numbers == [0, 1, 2, 3, 4, 5]
    assert trainer.optimizer.optimizer.state[next(iter(trainer.trainable.values()))]["step"] == 2


def test_gradient_checkpointing_does_not_change_the_weights():
    results = []
    for checkpointing in (False, True):
        trainer = tiny_trainer(gradient_checkpointing=checkpointing, max_train_steps=4)
        trainer.run()
        results.append(weights(trainer))
    for name, weight in results[0].items():
        torch.testing.assert_close(results[1][name], weight, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_bf16_does_not_round_the_vae(method):
    """A full checkpoint contains the VAE, so the VAE must never be cast to bfloat16."""
    trainer = tiny_trainer(mixed_precision="bf16", method=method, max_train_steps=4)
    trainer.run()
    before, after = (vae_to_state_dict(model.codec.vae) for model in (tiny_model(), trainer.model))
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert any("biometric" in losses for losses in trainer.history)


def test_lora_weights_stay_float32_under_bf16():
    trainer = tiny_trainer(mixed_precision="bf16", max_train_steps=4)
    before = weights(trainer)
    trainer.run()
    assert trainer.core.unet.conv_in.weight.dtype == torch.bfloat16
    after = weights(trainer)
    assert all(weight.dtype == torch.float32 and weight.isfinite().all() for weight in after.values())
    assert not all(torch.equal(before[name], weight) for name, weight in after.items())
    assert trainer.core.alphas_cumprod.dtype == torch.float32


def test_previews_from_a_callback_do_not_change_the_result():
    prompts = ["photo of a sks person as child", "photo of a sks person as old"]
    previews = []

    def preview(progress):
        noise = starting_noise(trainer.model.codec, SIDE, seed=0)
        previews.append(
            sample(trainer.model.denoiser, trainer.model.codec, prompts, noise, replace(PRESETS["fast"], steps=2))
        )

    plain = tiny_trainer(max_train_steps=3)
    plain.run()
    trainer = tiny_trainer(max_train_steps=3, previews=PreviewPlan(0))
    trainer.run(callbacks=[preview])
    assert previews[0].shape == (2, 3, SIDE, SIDE)
    assert not torch.equal(previews[0], previews[2])
    expected = weights(plain)
    assert all(torch.equal(expected[name], weight) for name, weight in weights(trainer).items())


def test_frozen_text_is_encoded_once():
    trainer = tiny_trainer()
    trainer.core.text.towers[0].forward = None  # calling it again would fail
    trainer.run()


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize("tiny_vae", [False, True])
def test_every_family_trains(family, tiny_vae):
    trainer = tiny_trainer(tiny_model(family, tiny_vae=tiny_vae), loss="biometric", max_train_steps=3)
    trainer.run()
    assert trainer.step_number == 3


def test_both_prediction_types_agree_on_the_clean_latents():
    epsilon, v = (tiny_model(SD1, prediction_type).denoiser for prediction_type in ("epsilon", "v_prediction"))
    shape = (4, 4, SIDE // 8, SIDE // 8)
    x_0, noise, t = torch.randn(shape), torch.randn(shape), torch.tensor([0, 250, 700, 999])
    for denoiser in (epsilon, v):
        x_t = denoiser.noised(x_0, noise, t)
        predicted = denoiser.predicted_x0(denoiser.target(x_0, noise, t), x_t, t)
        torch.testing.assert_close(predicted, x_0, atol=2e-4, rtol=0)


def test_the_denoiser_agrees_with_the_scheduler_in_diffusers():
    from diffusers import DDPMScheduler

    denoiser = tiny_model(SD1, "v_prediction").denoiser
    schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    x_0, noise, t = torch.randn(3, 4, 8, 8), torch.randn(3, 4, 8, 8), torch.tensor([1, 500, 998])
    torch.testing.assert_close(denoiser.noised(x_0, noise, t), schedule.add_noise(x_0, noise, t))
    torch.testing.assert_close(denoiser.target(x_0, noise, t), schedule.get_velocity(x_0, noise, t))


def test_a_loss_without_a_weight_is_an_error():
    trainer = tiny_trainer()
    terms = trainer.terms(trainer.data.sample(0))
    trainer.total(terms.losses)
    with pytest.raises(KeyError, match="reconstrution"):
        trainer.total({"reconstrution": terms.losses["reconstruction"]})

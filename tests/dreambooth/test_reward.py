"""The reward: its gradients, hinges and caps, and resuming a training that uses it."""

from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch import nn

from tests.parts import (
    FACE,
    SIDE,
    ToyEmbedder,
    known_place,
    regularization_set,
    resume,
    run,
    subject_set,
    tiny_model,
    weights,
)
from training.config import TrainingConfig
from training.dreambooth import losses
from training.dreambooth.reward import reward_remarks
from training.dreambooth.trainer import StopTraining
from training.errors import MissingInput, UnsupportedModel
from training.faces.age_estimators import CropAgeEstimator, ZeroShotAgeEstimator
from training.faces.crops import SquareCrop
from training.models.few_steps import before_last_step
from training.models.levels import rectified_flow, variance_exploding, variance_preserving
from training.runs.build import FaceNetworks, build_trainer
from training.runs.state import run_id, run_identity


class ToyYears(nn.Module):
    """A random linear age estimator whose first estimates lie outside every age class."""

    name, crop = "toy", SquareCrop(16, scale=1.3)

    def __init__(self):
        super().__init__()
        matrix = torch.randn(3 * 16 * 16, generator=torch.Generator().manual_seed(2))
        self.matrix = nn.Parameter(matrix, requires_grad=False)

    def forward(self, crops):
        return 150 + crops.flatten(1) @ self.matrix


def rewarded(detector=known_place, estimator=True, embedder=True, **options):
    """A tiny trainer with a reward at every step."""
    options = {
        "resolution": SIDE, "crop": "photo", "max_train_steps": 4, "learning_rate": 1e-3, "loss": "none",
        "reward_every": 1, "reward_start": 0.0, "reward_steps": 2,
    } | options  # fmt: skip
    return build_trainer(
        tiny_model(),
        subject_set(),
        regularization_set(),
        TrainingConfig(**options),
        FaceNetworks(
            detector,
            ToyEmbedder() if embedder else None,
            CropAgeEstimator(ToyYears()) if estimator is True else estimator,
        ),
    )


def terms_of(trainer, generated, norm=1.0):
    prediction = trainer.denoiser(generated.x_t, generated.t, generated.prompts)
    rewards, metrics = trainer.reward.terms(prediction, generated, torch.tensor(norm))
    return rewards | metrics


@pytest.mark.parametrize("name", ["reward identity", "reward age"])
def test_a_gradient_below_the_cap_is_that_of_the_sum_over_images(name):
    trainer = rewarded(method="full", train_text_encoder=False)
    core, reward = trainer.core, trainer.reward
    for module in (core, reward.codec, reward.networks.embedder, reward.networks.years):
        module.double()
    core.text.frozen_cache = {
        prompt: replace(cached, hidden=cached.hidden.double()) for prompt, cached in core.text.frozen_cache.items()
    }
    reward.references = {age: reference.double() for age, reference in reward.references.items()}
    reward.threshold = 2.0  # above any cosine
    generated = reward.generate(0)
    generated = replace(generated, x_t=generated.x_t.double())
    weight, count = core.unet.conv_out.weight, len(generated.ages)
    terms_of(trainer, generated, norm=1e9)[name].backward()
    direction = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    analytic = (weight.grad * direction).sum().item()

    values, step = [], 1e-6
    for sign in (1, -2):
        with torch.no_grad():
            weight += sign * step * direction
        values.append(count * terms_of(trainer, generated)[name].item())
    assert analytic == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)
    assert abs(analytic) > 1e-6


def test_hinges_are_zero_for_faces_that_meet_their_target():
    shortfalls = losses.identity_hinge(torch.eye(3), torch.tensor([[0.7, 0, 0], [0, 0.3, 0], [0, 0, 0.5]]), 0.5)
    assert shortfalls.tolist() == pytest.approx([0, 0.2, 0])
    ranges = torch.tensor([[20, 34]]).repeat(5, 1)
    years = losses.years_hinge(torch.tensor([18.0, 20.0, 27.0, 34.9, 40.0]), ranges)
    assert years.tolist() == pytest.approx([2, 0, 0, 0, 5])


def test_only_gradients_above_the_cap_are_clipped():
    prediction = torch.randn(2, 4, requires_grad=True)
    gradient = torch.tensor([[3.0, 0, 4, 0], [0.3, 0, 0.4, 0]])
    value = losses.capped(torch.tensor(7.0), prediction, gradient, 1.0)
    value.backward()
    assert value.item() == 7
    assert torch.allclose(prediction.grad, torch.tensor([[0.6, 0, 0.8, 0], [0.3, 0, 0.4, 0]]))


def test_caps_are_shares_of_the_reconstruction_gradient_at_any_scale_of_the_networks():
    trainer = rewarded(reward_identity=0.3, reward_age=0.2)
    trainer.reward.threshold = 2.0
    generated = trainer.reward.generate(0)
    prediction = trainer.denoiser(generated.x_t, generated.t, generated.prompts).detach().requires_grad_()
    for name, cap in {"reward identity": 0.3, "reward age": 0.2}.items():
        rewards, _ = trainer.reward.terms(prediction, generated, torch.tensor(1e-6))
        (gradient,) = torch.autograd.grad(rewards[name], prediction)
        assert gradient.flatten(1).norm(dim=1).tolist() == pytest.approx([cap * 1e-6] * 2, rel=1e-4)


def test_gradient_norm_is_the_mean_norm_per_image():
    prediction = torch.zeros(2, 1, 1, 2, requires_grad=True)
    target = torch.tensor([3.0, 4.0, 0.0, 0.0]).view(2, 1, 1, 2)
    assert losses.gradient_norm(prediction, target).item() == pytest.approx((2 * 5 / 4 + 0) / 2)


def test_an_image_without_a_face_is_counted_and_has_no_gradient():
    trainer = rewarded(detector=lambda image: [])
    trainer.run()
    assert [(losses["no face"], "reward identity" in losses) for losses in trainer.history] == [(1, False)] * 4
    assert "no face" not in trainer.weights
    assert reward_remarks([{}, {"no face": 0.5}, {"no face": 0.0}])[0].count("25%") == 1
    assert reward_remarks([{"no face": 0.0}]) == []
    detections = iter([[FACE], []])
    half = rewarded(detector=lambda image: next(detections))
    terms = terms_of(half, half.reward.generate(0))
    assert terms["no face"].item() == 0.5
    assert terms["reward age"].item() > 0


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_anchor_keeps_other_prompts_close_to_the_untrained_model(method):
    fresh = rewarded()
    x_t, t, others = torch.randn(1, 4, 8, 8), torch.tensor([300]), ["photo of a old"]
    with torch.no_grad():
        expected = fresh.core(x_t, t, others)

    drifts = {}
    for anchor in (0.01, 100.0):
        trainer = rewarded(
            method=method, train_text_encoder=False, reward_anchor=anchor, learning_rate=0.01, max_train_steps=8
        )
        trainer.run()
        with torch.no_grad(), trainer.model.untrained() as before:
            assert torch.equal(before(x_t, t, others), expected)
        drifts[anchor] = terms_of(trainer, trainer.reward.generate(9))["anchor"].item()
    assert drifts[100.0] < 0.5 * drifts[0.01]


@pytest.mark.parametrize("method", ["lora", "full"])
def test_stopped_and_resumed_equals_uninterrupted_to_the_bit(tmp_path, method):
    options = {"method": method, "reward_every": 2, "reward_anchor": 0.5, "train_text_encoder": False}
    whole = rewarded(**options)
    whole.run()
    assert ["reward age" in losses for losses in whole.history] == [False, True] * 2

    def stop(progress):
        if progress.step == 3:
            raise StopTraining

    stopped = rewarded(**options)
    with pytest.raises(StopTraining):
        run(stopped, tmp_path / "state.pt", [stop])
    resumed = rewarded(**options)
    resume(resumed, tmp_path / "state.pt")
    resumed.run()
    assert resumed.history == whole.history
    expected = weights(whole)
    assert all(torch.equal(expected[name], weight) for name, weight in weights(resumed).items())


def test_all_ages_are_generated_equally_often_and_processes_share_a_batch():
    reward = rewarded().reward
    assert set(Counter(age for number in range(9) for age in reward.generate(number).ages).values()) == {3}
    first, second = (reward.generate(1, process, 2) for process in range(2))
    assert first.ages != second.ages
    assert not torch.equal(first.x_t, second.x_t)
    again = rewarded().reward.generate(1, 0, 2)
    assert again.ages == first.ages
    assert torch.equal(again.x_t, first.x_t)


def test_the_reward_starts_late_and_a_run_without_it_keeps_its_id():
    trainer = rewarded(reward_every=2, reward_start=0.5, max_train_steps=8)
    assert [step for step in range(8) if trainer.reward.is_due(step)] == [5, 7]
    plain = rewarded(reward_every=0)
    assert plain.reward is None
    assert not any("reward" in name for name in run_identity(plain))
    assert run_id(rewarded(reward_every=0, reward_age=1.0)) == run_id(plain)
    assert run_identity(trainer)["max_train_steps"] == 8  # the step at which the reward starts depends on it


@pytest.mark.parametrize(
    ("networks", "error", "named"),
    [
        ({"embedder": False}, MissingInput, "embedder"),
        ({"estimator": None}, MissingInput, "reward_age"),
        (
            {"estimator": ZeroShotAgeEstimator("CLIP", lambda _: torch.ones(2), lambda p: torch.ones(len(p), 2))},
            UnsupportedModel,
            "CLIP",
        ),
    ],
)
def test_a_missing_or_unsuitable_network_is_named(networks, error, named):
    with pytest.raises(error, match=named):
        rewarded(**networks)
    if "estimator" in networks:
        assert rewarded(**networks, reward_age=0.0).reward.networks.years is None


@pytest.mark.parametrize(
    "levels",
    [
        variance_preserving(torch.linspace(0.9999**0.5, 0.0047**0.5, 1000, dtype=torch.float64) ** 2, "epsilon"),
        variance_preserving(torch.linspace(0.9999**0.5, 0.0047**0.5, 1000, dtype=torch.float64) ** 2, "v_prediction"),
        variance_exploding(torch.logspace(-1.5, 1.2, 1000), "epsilon"),
        rectified_flow(torch.linspace(0.001, 0.999, 1000)),
    ],
    ids=["epsilon", "v", "sigma", "flow"],
)
def test_sampling_solves_the_ode_of_gaussian_data_up_to_the_last_step(levels):
    """Gaussian data with deviation 0.5: x_t keeps its quantile, so it scales with the standard deviation at t."""

    class Ideal:
        def __init__(self):
            self.levels, self.noised, self.predicted_x0 = levels, levels.noised, levels.predicted_x0

        def __call__(self, x_t, t, prompts):
            assert prompts == ["a"] * 2
            signal, noise = levels.signal[t[0]], levels.noise[t[0]]
            x_0 = 0.25 * signal / (0.25 * signal**2 + noise**2) * x_t
            return levels.prediction(x_0, x_t, t)

    noise = torch.randn(2, 1, 3, 3, generator=torch.Generator().manual_seed(0))
    x_t, t = before_last_step(Ideal(), noise, ["a"] * 2, 250, guidance=1)
    assert t.tolist() == [3, 3]
    deviation = (0.25 * levels.signal**2 + levels.noise**2).sqrt()
    expected = levels.noise[999] * noise * deviation[3] / deviation[999]
    assert torch.allclose(x_t, expected, rtol=0.05, atol=0.01)

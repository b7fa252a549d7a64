"""The reward: its gradients, hinges and caps, and that a training with it is one that stops and goes on."""

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
from training.errors import UserError
from training.faces.age_estimators import CropAgeEstimator, ZeroShotAgeEstimator
from training.faces.crops import SquareCrop
from training.models.few_steps import before_last_step
from training.models.levels import rectified_flow, variance_exploding, variance_preserving
from training.runs.build import FaceNetworks, build_trainer
from training.runs.state import run_id, run_identity


class ToyYears(nn.Module):
    """Years that no class has at first, from a random map."""

    name, crop = "toy", SquareCrop(16, scale=1.3)

    def __init__(self):
        super().__init__()
        matrix = torch.randn(3 * 16 * 16, generator=torch.Generator().manual_seed(2))
        self.matrix = nn.Parameter(matrix, requires_grad=False)

    def forward(self, crops):
        return 150 + crops.flatten(1) @ self.matrix


def rewarded(detector=known_place, estimator=True, embedder=True, **options):
    """A tiny trainer whose every step is rewarded."""
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


def terms_of(trainer, drawn, length=1.0):
    prediction = trainer.denoiser(drawn.x_t, drawn.t, drawn.prompts)
    rewards, metrics = trainer.reward.terms(prediction, drawn, torch.tensor(length))
    return rewards | metrics


@pytest.mark.parametrize("name", ["reward identity", "reward age"])
def test_gradient_below_the_cap_is_that_of_the_sum_over_pictures(name):
    trainer = rewarded(method="full", train_text_encoder=False)
    core, reward = trainer.core, trainer.reward
    for module in (core, reward.codec, reward.networks.embedder, reward.networks.years):
        module.double()
    core.text.frozen_cache = {
        prompt: replace(cached, hidden=cached.hidden.double()) for prompt, cached in core.text.frozen_cache.items()
    }
    reward.references = {age: reference.double() for age, reference in reward.references.items()}
    reward.threshold = 2.0  # which no cosine reaches
    drawn = reward.generate(0)
    drawn = replace(drawn, x_t=drawn.x_t.double())
    weight, count = core.unet.conv_out.weight, len(drawn.ages)
    terms_of(trainer, drawn, length=1e9)[name].backward()
    direction = torch.randn(weight.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    claimed = (weight.grad * direction).sum().item()

    values, step = [], 1e-6
    for sign in (1, -2):
        with torch.no_grad():
            weight += sign * step * direction
        values.append(count * terms_of(trainer, drawn)[name].item())
    assert claimed == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-5)
    assert abs(claimed) > 1e-6


def test_nothing_is_missing_to_what_is_good_enough():
    alike = losses.identity_hinge(torch.eye(3), torch.tensor([[0.7, 0, 0], [0, 0.3, 0], [0, 0, 0.5]]), 0.5)
    assert alike.tolist() == pytest.approx([0, 0.2, 0])
    ranges = torch.tensor([[20, 34]]).repeat(5, 1)
    years = losses.years_hinge(torch.tensor([18.0, 20.0, 27.0, 34.9, 40.0]), ranges)
    assert years.tolist() == pytest.approx([2, 0, 0, 0, 5])


def test_a_long_gradient_is_cut_to_the_cap_and_a_short_one_left():
    prediction = torch.randn(2, 4, requires_grad=True)
    gradient = torch.tensor([[3.0, 0, 4, 0], [0.3, 0, 0.4, 0]])
    value = losses.capped(torch.tensor(7.0), prediction, gradient, 1.0)
    value.backward()
    assert value.item() == 7
    assert torch.allclose(prediction.grad, torch.tensor([[0.6, 0, 0.8, 0], [0.3, 0, 0.4, 0]]))


def test_caps_are_shares_of_the_reconstruction_whatever_the_judges_scale():
    trainer = rewarded(reward_identity=0.3, reward_age=0.2)
    trainer.reward.threshold = 2.0
    drawn = trainer.reward.generate(0)
    prediction = trainer.denoiser(drawn.x_t, drawn.t, drawn.prompts).detach().requires_grad_()
    for name, cap in {"reward identity": 0.3, "reward age": 0.2}.items():
        rewards, _ = trainer.reward.terms(prediction, drawn, torch.tensor(1e-6))
        (gradient,) = torch.autograd.grad(rewards[name], prediction)
        assert gradient.flatten(1).norm(dim=1).tolist() == pytest.approx([cap * 1e-6] * 2, rel=1e-4)


def test_length_of_the_reconstruction_is_that_of_its_gradient():
    prediction = torch.zeros(2, 1, 1, 2, requires_grad=True)
    target = torch.tensor([3.0, 4.0, 0.0, 0.0]).view(2, 1, 1, 2)
    assert losses.gradient_norm(prediction, target).item() == pytest.approx((2 * 5 / 4 + 0) / 2)


def test_a_picture_without_a_face_is_counted_and_pulls_nowhere():
    trainer = rewarded(detector=lambda image: [])
    trainer.run()
    assert [(losses["no face"], "reward identity" in losses) for losses in trainer.history] == [(1, False)] * 4
    assert "no face" not in trainer.weights
    assert reward_remarks([{}, {"no face": 0.5}, {"no face": 0.0}])[0].count("25%") == 1
    assert reward_remarks([{"no face": 0.0}]) == []
    seen = iter([[FACE], []])
    half = rewarded(detector=lambda image: next(seen))
    terms = terms_of(half, half.reward.generate(0))
    assert terms["no face"].item() == 0.5
    assert terms["reward age"].item() > 0


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_anchor_knows_the_model_of_before_and_holds_other_prompts_there(method):
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


def test_every_age_is_drawn_as_often_and_processes_share_a_drawing():
    reward = rewarded().reward
    assert set(Counter(age for number in range(9) for age in reward.generate(number).ages).values()) == {3}
    one, other = (reward.generate(1, process, 2) for process in range(2))
    assert one.ages != other.ages
    assert not torch.equal(one.x_t, other.x_t)
    again = rewarded().reward.generate(1, 0, 2)
    assert again.ages == one.ages
    assert torch.equal(again.x_t, one.x_t)


def test_it_begins_late_and_without_it_a_run_has_the_id_that_it_had():
    trainer = rewarded(reward_every=2, reward_start=0.5, max_train_steps=8)
    assert [step for step in range(8) if trainer.reward.is_due(step)] == [5, 7]
    plain = rewarded(reward_every=0)
    assert plain.reward is None
    assert not any("reward" in name for name in run_identity(plain))
    assert run_id(rewarded(reward_every=0, reward_age=1.0)) == run_id(plain)
    assert run_identity(trainer)["max_train_steps"] == 8  # where it begins depends on it


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ({"embedder": False}, "face embedder"),
        ({"estimator": None}, "age estimator"),
        ({"estimator": ZeroShotAgeEstimator("CLIP", lambda _: torch.ones(2), lambda p: torch.ones(len(p), 2))}, "CLIP"),
    ],
)
def test_who_must_judge_is_said(missing, said):
    with pytest.raises(UserError, match=said):
        rewarded(**missing)
    if "estimator" in missing:
        assert rewarded(**missing, reward_age=0.0).reward.networks.years is None


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
def test_sampling_follows_the_flow_of_gaussian_data_up_to_the_last_step(levels):
    """Of data with deviation 0.5, x_t keeps its quantile: it is proportional to its standard deviation there."""

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

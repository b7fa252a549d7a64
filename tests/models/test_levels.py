"""Every prediction type against the equations of its paper."""

import pytest
import torch

from training.dreambooth.losses import decode_probability
from training.errors import InvalidSetting
from training.models.levels import (
    TIMESTEPS,
    check_timestep_sampling,
    quantiles,
    rectified_flow,
    variance_exploding,
    variance_preserving,
)

X_0, NOISE = torch.randn(2, 4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
T = torch.tensor([0, 300, 700, 999])
SIGMAS = torch.linspace(0.03, 14.6, TIMESTEPS)
ALPHAS = 1 / (1 + SIGMAS**2)


def places(values):
    return values[T].view(-1, 1, 1, 1)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (variance_preserving(ALPHAS, "epsilon"), NOISE),
        (
            variance_preserving(ALPHAS, "v_prediction"),
            places(ALPHAS).sqrt() * NOISE - (1 - places(ALPHAS)).sqrt() * X_0,
        ),
        (variance_exploding(SIGMAS, "epsilon"), NOISE),
        (
            variance_exploding(SIGMAS, "v_prediction"),
            places(ALPHAS).sqrt() * NOISE - (1 - places(ALPHAS)).sqrt() * X_0,
        ),
        (rectified_flow(torch.linspace(0.01, 0.99, TIMESTEPS)), NOISE - X_0),
    ],
    ids=["epsilon", "v", "epsilon in ComfyUI", "v in ComfyUI", "flow"],
)
def test_target_and_predicted_x_0(levels, expected):
    x_t, target = levels.noised(X_0, NOISE, T), levels.target(X_0, NOISE, T)
    torch.testing.assert_close(target, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(levels.predicted_x0(target, x_t, T), X_0, atol=2e-4, rtol=0)
    torch.testing.assert_close(levels.prediction(X_0, x_t, T), target, atol=1e-3, rtol=0)


def test_variance_preserving_and_exploding_latents_differ_only_in_scale():
    preserving, exploding = variance_preserving(ALPHAS, "epsilon"), variance_exploding(SIGMAS, "epsilon")
    scaled = places(ALPHAS).sqrt() * exploding.noised(X_0, NOISE, T)
    torch.testing.assert_close(preserving.noised(X_0, NOISE, T), scaled)


def test_logit_normal_is_symmetric_and_prefers_the_middle():
    positions = quantiles("logit_normal")
    assert torch.all(positions.diff() > 0)
    torch.testing.assert_close(positions + positions.flip(0), torch.ones_like(positions))
    share = ((positions > 0.27) & (positions < 0.73)).double().mean().item()
    assert share == pytest.approx(0.68, abs=0.01)  # within one standard deviation before the sigmoid


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "edm"])
def test_only_flow_models_can_be_sampled_shifted(prediction_type):
    check_timestep_sampling("shifted", "flow")
    for sampling in (None, "uniform", "logit_normal"):
        check_timestep_sampling(sampling, prediction_type)
    with pytest.raises(InvalidSetting, match=prediction_type):
        check_timestep_sampling("shifted", prediction_type)


def test_a_third_of_the_steps_decode_for_every_noise_schedule():
    """The probability depends on the quantile, not on sigma. With sigma, Flux.2's shift would leave 4 %."""
    share = decode_probability(torch.arange(TIMESTEPS), TIMESTEPS).mean().item()
    assert share == pytest.approx(1 / 3, abs=0.001)

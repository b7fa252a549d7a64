"""A MODEL's noise levels, converted from its model_sampling."""

from bisect import bisect_left

import comfy.model_sampling
import torch

from ...training.errors import UnsupportedModel
from ...training.models.levels import (
    ALL,
    NoiseLevels,
    check_timestep_sampling,
    positions,
    quantiles,
    rectified_flow,
    variance_exploding,
)

PREDICTION_TYPES = {
    comfy.model_sampling.EPS: "epsilon",
    comfy.model_sampling.V_PREDICTION: "v_prediction",
    comfy.model_sampling.EDM: "edm",
    comfy.model_sampling.CONST: "flow",
}
FLOW_SAMPLING = "logit_normal"
PARTS = 2**20  # accuracy of a quantile


def prediction_type(sampling) -> str:
    """What the network predicts, from the classes of its model_sampling. Raises UserError for unknown ones."""
    for base in type(sampling).__bases__:
        if base in PREDICTION_TYPES:
            return PREDICTION_TYPES[base]
    raise UnsupportedModel(
        "This MODEL predicts neither noise, v nor a flow, so it cannot be trained. Remove nodes that change its "
        "sampling, such as ModelSamplingDiscrete with lcm, or use another model."
    )


def levels_of(
    sampling, timestep_sampling: str | None, within: tuple[float, float] = ALL
) -> tuple[NoiseLevels, torch.Tensor]:
    """The noise levels that training visits, and ComfyUI's sigma for each, float32 [T].

    For a flow, only "shifted" includes the model's own shift, and only quantiles ``within`` these are visited. Other
    models take their levels from their sigma table. Raises UserError for "shifted" on models that are not flows.
    """
    prediction = prediction_type(sampling)
    check_timestep_sampling(timestep_sampling, prediction)
    if prediction == "flow":
        chosen = timestep_sampling or FLOW_SAMPLING
        sigmas = _flow_sigmas(sampling, chosen, quantiles(chosen, within))
        return rectified_flow(sigmas, getattr(sampling, "noise_scale", 1.0)), sigmas.float()
    table = sampling.sigmas.detach().cpu().clone()
    sigmas = table[(quantiles(timestep_sampling or "uniform") * len(table)).long()]
    if prediction == "epsilon":
        return variance_exploding(sigmas, prediction), sigmas
    sign = 1 if prediction == "edm" else -1
    return variance_exploding(sigmas, prediction, sampling.sigma_data, sign), sigmas


def quantile_range(sampling, timestep_sampling: str | None, sigma_range: tuple[float, float]) -> tuple[float, float]:
    """The first and last quantile of a flow's noise levels with a sigma in ``sigma_range``."""
    chosen = timestep_sampling or FLOW_SAMPLING

    def sigma(part: int) -> float:
        return _flow_sigmas(sampling, chosen, positions(chosen, torch.tensor([part / PARTS]).double())).item()

    first, last = (bisect_left(range(PARTS), edge, key=sigma) / PARTS for edge in sigma_range)
    return first, last


def _flow_sigmas(sampling, chosen: str, schedule: torch.Tensor) -> torch.Tensor:
    """The sigmas of a flow at positions ``schedule`` [N], float64."""
    if chosen != "shifted":
        return schedule
    return torch.tensor([sampling.percent_to_sigma(1 - position) for position in schedule.tolist()]).double()

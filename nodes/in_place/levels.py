"""A MODEL's noise levels, converted from its model_sampling."""

import comfy.model_sampling
import torch

from ...training.errors import UnsupportedModel
from ...training.models.levels import (
    NoiseLevels,
    check_timestep_sampling,
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


def prediction_type(sampling) -> str:
    """What the network predicts, from the classes of its model_sampling. Raises UserError for unknown ones."""
    for base in type(sampling).__bases__:
        if base in PREDICTION_TYPES:
            return PREDICTION_TYPES[base]
    raise UnsupportedModel(
        "This MODEL predicts neither noise, v nor a flow, so it cannot be trained. Remove nodes that change its "
        "sampling, such as ModelSamplingDiscrete with lcm, or use another model."
    )


def levels_of(sampling, timestep_sampling: str | None) -> tuple[NoiseLevels, torch.Tensor]:
    """The noise levels that training visits, and ComfyUI's sigma for each, float32 [T].

    For a flow, only "shifted" includes the model's own shift. Other models take their levels from their sigma table.
    Raises UserError for "shifted" on models that are not flows.
    """
    prediction = prediction_type(sampling)
    check_timestep_sampling(timestep_sampling, prediction)
    chosen = timestep_sampling or ("logit_normal" if prediction == "flow" else "uniform")
    positions = quantiles(chosen)
    if prediction == "flow":
        sigmas = positions
        if chosen == "shifted":
            sigmas = torch.tensor([sampling.percent_to_sigma(1 - position) for position in positions.tolist()]).double()
        return rectified_flow(sigmas, getattr(sampling, "noise_scale", 1.0)), sigmas.float()
    table = sampling.sigmas.detach().cpu().clone()
    sigmas = table[(positions * len(table)).long()]
    if prediction == "epsilon":
        return variance_exploding(sigmas, prediction), sigmas
    sign = 1 if prediction == "edm" else -1
    return variance_exploding(sigmas, prediction, sampling.sigma_data, sign), sigmas

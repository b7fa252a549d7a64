"""The noise levels that a MODEL samples on, as our own."""

import comfy.model_sampling
import torch

from ...training.errors import UserError
from ...training.models.levels import NoiseLevels, quantiles, rectified_flow, variance_exploding

PREDICTION_TYPES = {
    comfy.model_sampling.EPS: "epsilon",
    comfy.model_sampling.V_PREDICTION: "v_prediction",
    comfy.model_sampling.EDM: "edm",
    comfy.model_sampling.CONST: "flow",
}


def prediction_type(sampling) -> str:
    """What the network predicts, by the class that ComfyUI mixed into its model_sampling. Raises UserError."""
    for mixed_in in type(sampling).__bases__:
        if mixed_in in PREDICTION_TYPES:
            return PREDICTION_TYPES[mixed_in]
    raise UserError(
        "This MODEL predicts neither noise, v nor a flow, so there is nothing to train it towards. Take away what "
        "changes its sampling, such as LCM, or use another model."
    )


def levels_of(sampling, timestep_sampling: str | None) -> tuple[NoiseLevels, torch.Tensor]:
    """The levels that training visits, and ComfyUI's sigma [T], float32, of each.

    A flow's own shift is part of "shifted" alone; every other model's levels are in its table of sigmas.
    """
    kind = prediction_type(sampling)
    chosen = timestep_sampling or ("logit_normal" if kind == "flow" else "uniform")
    places = quantiles(chosen)
    if kind == "flow":
        if chosen == "shifted":
            places = torch.tensor([sampling.percent_to_sigma(1 - place) for place in places.tolist()]).double()
        return rectified_flow(places, getattr(sampling, "noise_scale", 1.0)), places.float()
    if chosen == "shifted":
        raise UserError(
            f"timestep_sampling shifted is for flow models, and this one predicts {kind}. Use uniform or logit_normal."
        )
    table = sampling.sigmas.detach().cpu().clone()
    sigmas = table[(places * len(table)).long()]
    if kind == "epsilon":
        return variance_exploding(sigmas, kind), sigmas
    return variance_exploding(sigmas, kind, sampling.sigma_data, sign=1 if kind == "edm" else -1), sigmas

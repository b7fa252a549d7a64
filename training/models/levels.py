"""Noise levels and what a network predicts at each: epsilon, v and flow as one pair of equations.

With the coefficients of level t (k-diffusion's c_skip and c_out; Karras et al. 2022, eq. 7),

    x_t = signal x_0 + noise e        unit x_0 = skip x_t + out F(x_t)

where e is normal noise and F the network. ``unit`` is alpha for epsilon in variance-preserving latents, else 1.
"""

import torch
from torch import Tensor, nn

from ..errors import InvalidSetting

TIMESTEPS = 1000  # noise levels that training samples from
ALL = (0.0, 1.0)  # the first and last quantile of the noise levels

PREDICTIONS = ("epsilon", "v_prediction", "edm", "flow")


class NoiseLevels(nn.Module):
    """Coefficients [T] per level, computed in float64 and stored as float32. ``sigmas`` are noise / signal."""

    sigmas: Tensor
    signal: Tensor
    noise: Tensor
    skip: Tensor
    out: Tensor
    unit: Tensor
    target_x_0: Tensor
    target_noise: Tensor

    def __init__(self, signal: Tensor, noise: Tensor, skip: Tensor, out: Tensor, unit: Tensor):
        super().__init__()
        signal, noise, skip, out, unit = (values.double() for values in (signal, noise, skip, out, unit))
        table = {
            "sigmas": noise / signal,
            "signal": signal,
            "noise": noise,
            "skip": skip,
            "out": out,
            "unit": unit,
            "target_x_0": (unit - skip * signal) / out,  # the second equation solved for F, with x_t inserted
            "target_noise": -skip * noise / out,
        }
        for name, values in table.items():
            self.register_buffer(name, values.float(), persistent=False)

    def noised(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Returns x_t for clean latents ``x_0`` [B, C, ...] at levels ``t`` [B]."""
        return _at(self.signal, t, x_0) * x_0 + _at(self.noise, t, x_0) * noise

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The prediction of a perfect network."""
        return _at(self.target_x_0, t, x_0) * x_0 + _at(self.target_noise, t, x_0) * noise

    def predicted_x0(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean latents that ``prediction`` implies."""
        skip, out, unit = (_at(table, t, x_t) for table in (self.skip, self.out, self.unit))
        return (skip * x_t + out * prediction) / unit

    def predicted_noise(self, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The noise in ``x_t`` if its clean latents are ``x_0``; inverts ``noised``."""
        return (x_t - _at(self.signal, t, x_0) * x_0) / _at(self.noise, t, x_0)

    def prediction(self, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The network output that implies ``x_0``; inverts ``predicted_x0``."""
        skip, out, unit = (_at(table, t, x_t) for table in (self.skip, self.out, self.unit))
        return (unit * x_0 - skip * x_t) / out


def _at(table: Tensor, t: Tensor, like: Tensor) -> Tensor:
    return table[t].view(-1, *[1] * (like.ndim - 1))


def variance_preserving(alphas_cumprod: Tensor, prediction_type: str) -> NoiseLevels:
    """x_t = alpha x_0 + sigma e with alpha^2 + sigma^2 = 1, the form diffusers uses (Ho et al. 2020, eq. 4).

    epsilon: F = e. v_prediction: F = alpha e - sigma x_0 (Salimans & Ho 2022, appendix D).
    """
    alpha, sigma = alphas_cumprod.sqrt(), (1 - alphas_cumprod).sqrt()
    one = torch.ones_like(alpha)
    if prediction_type == "epsilon":
        return NoiseLevels(alpha, sigma, skip=one, out=-sigma, unit=alpha)
    return NoiseLevels(alpha, sigma, skip=alpha, out=-sigma, unit=one)


def variance_exploding(sigmas: Tensor, prediction_type: str, sigma_data: float = 1.0, sign: int = -1) -> NoiseLevels:
    """x_t = x_0 + sigma e, the form k-diffusion uses. ``sign`` is the sign of c_out: +1 for EDM's own v."""
    sigmas = sigmas.double()
    one, total = torch.ones_like(sigmas), sigmas**2 + sigma_data**2
    if prediction_type == "epsilon":
        return NoiseLevels(one, sigmas, skip=one, out=-sigmas, unit=one)
    return NoiseLevels(one, sigmas, skip=sigma_data**2 / total, out=sign * sigmas * sigma_data / total.sqrt(), unit=one)


def rectified_flow(sigmas: Tensor, noise_scale: float = 1.0) -> NoiseLevels:
    """x_t = (1 - sigma) x_0 + sigma e and F = e - x_0 (Liu et al. 2023)."""
    sigmas = sigmas.double()
    one = torch.ones_like(sigmas)
    return NoiseLevels(1 - sigmas, noise_scale * sigmas, skip=one, out=-sigmas, unit=one)


def check_timestep_sampling(sampling: str | None, prediction_type: str) -> None:
    """Raises UserError for "shifted" unless the model predicts a flow; other models have no shift."""
    if sampling == "shifted" and prediction_type != "flow":
        raise InvalidSetting(
            f"timestep_sampling shifted is for flow models, but this model predicts {prediction_type}. Use uniform or "
            "logit_normal."
        )


def quantiles(sampling: str, within: tuple[float, float] = ALL) -> Tensor:
    """Positions [T] in (0, 1) on a model's schedule that training visits equally often, from little noise to much.

    ``within``: only the positions between these two quantiles.
    """
    first, last = within
    parts = (torch.arange(TIMESTEPS, dtype=torch.float64) + 0.5) / TIMESTEPS
    return positions(sampling, first + (last - first) * parts)


def positions(sampling: str, parts: Tensor) -> Tensor:
    """The positions on a model's schedule below which training spends ``parts`` [N] in [0, 1] of its steps, float64.

    uniform: evenly spaced. logit_normal: sigmoid of a normal variable, more in the middle (Esser et al. 2024, eq. 19
    with m = 0, s = 1). shifted: as logit_normal; the caller then applies the model's shift.
    """
    return parts if sampling == "uniform" else torch.special.ndtri(parts).sigmoid()

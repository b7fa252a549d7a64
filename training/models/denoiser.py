"""One interface for every network, whatever its family and prediction type (epsilon, v or flow)."""

from torch import Tensor, nn

from .levels import ALL, NoiseLevels


class Denoiser(nn.Module):
    """(x_t, t, prompts) -> the network's prediction.

    ``t`` [B] is int64 in 0-999: a quantile of the noise levels used in training, from little noise to much.
    """

    prediction_type: str
    levels: NoiseLevels
    quantiles: tuple[float, float] = ALL  # the part of the model's noise levels that this network is for

    def forward(self, x_t: Tensor, t: Tensor, prompts: list[str]) -> Tensor:
        """Prediction [B, C, ...] for latents ``x_t`` [B, C, ...] at ``t``."""
        raise NotImplementedError

    def sample_timesteps(self, sampling: str | None) -> None:
        """Sets how often training visits each noise level: "uniform", "logit_normal" or "shifted".

        None selects the default for the prediction type.
        """
        raise NotImplementedError

    def noised(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Returns x_t: ``x_0`` with ``noise`` added at ``t``."""
        return self.levels.noised(x_0, noise, t)

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """The prediction of a perfect network."""
        return self.levels.target(x_0, noise, t)

    def predicted_x0(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean latents that ``prediction`` implies."""
        return self.levels.predicted_x0(prediction, x_t, t)

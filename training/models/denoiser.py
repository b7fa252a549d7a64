"""One interface to every network: above it, nobody knows its family, nor whether it predicts noise, v or a flow."""

from torch import Tensor, nn

from .levels import NoiseLevels


class Denoiser(nn.Module):
    """(x_t, t, prompts) -> the network's prediction.

    ``t`` [B], int64 in 0-999, is a quantile of the noise levels that are trained on, from little noise to much.
    """

    prediction_type: str
    levels: NoiseLevels

    def forward(self, x_t: Tensor, t: Tensor, prompts: list[str]) -> Tensor:
        """Prediction [B, C, ...] for latents ``x_t`` [B, C, ...] at ``t``."""
        raise NotImplementedError

    def sample_timesteps(self, sampling: str | None) -> None:
        """How often training visits each noise level: "uniform", "logit_normal", "shifted"; None: a good one."""
        raise NotImplementedError

    def noised(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t."""
        return self.levels.noised(x_0, noise, t)

    def target(self, x_0: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What a perfect prediction would be."""
        return self.levels.target(x_0, noise, t)

    def predicted_x0(self, prediction: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """The clean latents that ``prediction`` implies."""
        return self.levels.predicted_x0(prediction, x_t, t)

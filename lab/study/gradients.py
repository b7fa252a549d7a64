"""Size and direction of each identity loss's gradient relative to DreamBooth's."""

from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from training.dreambooth.trainer import Trainer
from training.world.recipe import regularization_set, subject_set, trainer_of

from .plan import DREAMBOOTH, LOSSES, Size, Variant


@dataclass(frozen=True)
class Pull:
    """The gradient of a weighted identity loss relative to that of reconstruction and prior; quantiles over batches."""

    name: str
    batches: int  # batches in which the loss was computed
    size: list[float]  # ratio of the norms: 10 %, median, 90 %
    direction: list[float]  # cosine between the gradients: 10 %, median, 90 %


def measure(size: Size) -> list[dict]:
    """Returns a Pull, as a dictionary, for each of the LOSSES: on one subject, halfway through a DreamBooth run."""
    subject, steps = subject_set(size.watched[0]), max(1, size.steps // 2)
    trained = trainer_of(subject, regularization_set(), DREAMBOOTH.config(0, steps))
    trained.run()
    weights = trained.core.unet.state_dict()
    pulls = []
    for variant in LOSSES:
        trainer = trainer_of(subject, regularization_set(), variant.config(0, steps))
        trainer.core.unet.load_state_dict(weights)
        pulls.append(asdict(_pull(variant, trainer, range(steps, steps + size.gradient_batches))))
    return pulls


def _pull(variant: Variant, trainer: Trainer, batches: range) -> Pull:
    name, sizes, directions = variant.settings["loss"], [], []
    for number in batches:
        terms = trainer.terms(trainer.data.sample(number)).losses
        if name not in terms:  # no face was decoded
            continue
        base = _gradient(trainer, terms["reconstruction"] + terms["prior"])
        identity = _gradient(trainer, trainer.weights[name] * terms[name])
        sizes.append((identity.norm() / base.norm()).item())
        directions.append(torch.nn.functional.cosine_similarity(identity, base, dim=0).item())
    quantiles = (0.1, 0.5, 0.9)
    return Pull(variant.name, len(sizes), *(np.quantile(v, quantiles).round(3).tolist()
                for v in (sizes, directions)))  # fmt: skip


def _gradient(trainer: Trainer, loss: Tensor) -> Tensor:
    gradients = torch.autograd.grad(loss, list(trainer.trainable.values()), retain_graph=True)
    return torch.cat([part.flatten() for part in gradients])


def table(pulls: list[dict]) -> str:
    """Returns a Markdown table with one row per loss."""
    lines = ["| | gradient over DreamBooth's, median (10 to 90 %) | cosine between the two |", "| --- | --- | --- |"]
    for pull in pulls:
        loss, weight = pull["name"].rsplit("-", 1)
        cells = ("{1:.2f} ({0:.2f} to {2:.2f})".format(*pull[part]) for part in ("size", "direction"))
        lines.append(" | ".join([f"| {loss}, weight {weight}", *cells]) + " |")
    return "\n".join(lines) + "\n"

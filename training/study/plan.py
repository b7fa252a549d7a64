"""What the study varies, and on whom. Every trial has a name of its own, by which a stopped study goes on."""

from dataclasses import dataclass, field, replace
from typing import Any

from ..config import TrainingConfig
from ..world.draw.population import HELD_OUT
from .recipe import RECIPE

SUBJECTS = range(HELD_OUT + 40, HELD_OUT + 48)  # nobody on whom a setting was tried
OTHERS = range(HELD_OUT + 1000, HELD_OUT + 1032)  # non-mated comparisons are with these
SEEDS = range(3)
PRECISION = "bf16"  # 1.65 times as fast as float32 on the processor that made the study


@dataclass(frozen=True)
class Size:
    """How much is trained and drawn."""

    steps: int
    noises: tuple[int, ...]  # seeds of the pictures that are judged
    watched: range  # the people whose training a judge watches,
    watched_steps: int  # for so long,
    look_every: int  # so often
    gradient_batches: int  # of which gradients are compared
    path: tuple[int, ...]  # steps of a training at which it is judged, where ways are compared along them


WHOLE = Size(70, (101, 102), SUBJECTS, 160, 20, 24, (40, 80, 120))
QUICK = Size(3, (101,), SUBJECTS[:1], 2, 1, 3, (1, 2))  # shows that everything runs and nothing else


@dataclass(frozen=True)
class Variant:
    """One way to train."""

    name: str
    label: str
    settings: dict[str, Any] = field(default_factory=dict)
    trained: bool = True
    regularized: bool = True
    anytime: bool = False  # decode at every t alike, instead of with probability (1 - t/T)^2
    whole: bool = False  # the embedder sees the whole picture instead of the face
    student: bool = False  # the identity loss decodes through a small decoder

    def config(self, seed: int, steps: int) -> TrainingConfig:
        """Every setting of a run."""
        return replace(RECIPE, **self.settings, max_train_steps=steps, seed=seed, mixed_precision=PRECISION)


def _identity(loss: str, weight: float, label: str | None = None, **other: Any) -> Variant:
    name = f"{loss}-{weight:g}" + "".join(f"-{key}" for key in other)
    return Variant(name, label or f"+ {loss}", {"loss": loss, "loss_weight": weight}, **other)


TRUE = Variant("true", "the person itself", {"loss": "none"}, trained=False)  # drawn by the program: the best there is
UNTRAINED = Variant("untrained", "untrained", {"loss": "none"}, trained=False)
DREAMBOOTH = Variant("dreambooth", "DreamBooth", {"loss": "none"})
MAIN = (
    TRUE,
    UNTRAINED,
    Variant("plain", "plain", {"loss": "none"}, regularized=False),
    Variant("plain-biometric-0.02", "plain + biometric", {"loss": "biometric", "loss_weight": 0.02}, regularized=False),
    DREAMBOOTH,
    _identity("biometric", 0.1),
    _identity("biometric", 0.02, "+ biometric 0.02"),  # a weight at which its gradient does not drown the others
    _identity("contrastive", 0.1),
    _identity("cosine", 0.1),
    _identity("triplet", 0.1),
)
WEIGHTS = tuple(
    _identity("biometric", weight, f"biometric, weight {weight:g}") for weight in (0.02, 0.05, 0.1, 0.2, 0.5)
)
PARTS = (
    _identity("biometric", 0.1, "(1 - t/T)², face crop"),
    _identity("biometric", 0.1, "any t alike", anytime=True),
    _identity("biometric", 0.1, "whole picture instead of crop", whole=True),
    _identity("biometric", 0.1, "small decoder instead of the own", student=True),
)


@dataclass(frozen=True)
class Trial:
    """One variant on one subject with one seed."""

    variant: Variant
    subject: int
    seed: int

    @property
    def name(self) -> str:
        """Unique in the study."""
        return f"{self.variant.name}/{self.subject}/{self.seed}"


def trials(seeds: int = len(SEEDS)) -> list[Trial]:
    """Every trial: the main table's first, seed by seed and subject by subject, so that a stopped study has a table."""
    plan = [
        Trial(variant, subject, seed)
        for seed in SEEDS[:seeds]
        for subject in SUBJECTS
        for variant in MAIN
        if variant.trained or seed == 0
    ]
    plan += [Trial(variant, subject, 0) for variant in (*WEIGHTS, *PARTS) for subject in SUBJECTS]
    return list({trial.name: trial for trial in plan}.values())


def quick() -> list[Trial]:
    """The main table on two subjects, one seed each."""
    return [Trial(variant, subject, 0) for variant in MAIN for subject in SUBJECTS[:2]]

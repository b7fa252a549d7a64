"""Methods and subjects of the study. Each trial has a unique name, by which a stopped study resumes."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from training.config import TrainingConfig
from training.world.recipe import RECIPE, REWARD
from training.world.render.population import HELD_OUT

PEOPLE = range(HELD_OUT + 48, HELD_OUT + 60)  # no setting, loss or reward was tuned on them
TUNED_ON = tuple(HELD_OUT + person for person in (300, 301, 302, 303, 310, 311, 312))  # the reward was tuned on them
WATCHED = range(HELD_OUT + 40, HELD_OUT + 48)
OTHERS = range(HELD_OUT + 1000, HELD_OUT + 1032)  # people for non-mated comparisons
SEEDS = range(3)
# The faster one on each: 1.65 times on the CPU that made the first rows, 1.8 times on the H200 that made the paths.
PRECISION = "no" if torch.cuda.is_available() else "bf16"


@dataclass(frozen=True)
class Size:
    """How much is trained and generated."""

    path: tuple[int, ...]  # steps at which a training is evaluated
    noises: tuple[int, ...]  # seeds of the evaluated images
    steps: int  # length of the trainings that are evaluated only at their end
    watched: range  # people whose training has previews for a judge
    watched_steps: int  # length of those trainings
    look_every: int  # steps between previews
    gradient_batches: int  # batches whose gradients are compared


# The study's weights are for the plain L1 distance in the 128 dimensions of the world's embedder. The loss is now
# sqrt(512 / 128) times that distance.
BIOMETRIC_SCALE = 0.5
WHOLE = Size((40, 80, 120), (101, 102), 70, WATCHED, 160, 20, 24)
QUICK = Size((1, 2), (101,), 3, WATCHED[:1], 2, 1, 3)  # only checks that everything runs


@dataclass(frozen=True)
class Variant:
    """One training method, or a reference without training."""

    name: str
    label: str
    settings: dict[str, Any] = field(default_factory=dict)
    trained: bool = True
    regularized: bool = True

    def config(self, seed: int, steps: int) -> TrainingConfig:
        """Returns the settings of a run."""
        return replace(RECIPE, **self.settings, max_train_steps=steps, seed=seed, mixed_precision=PRECISION)


def _with_loss(loss: str, weight: float) -> Variant:
    scale = BIOMETRIC_SCALE if loss == "biometric" else 1
    return Variant(f"{loss}-{weight:g}", f"+ {loss} {weight:g}", {"loss": loss, "loss_weight": scale * weight})


def _rewarded(name: str, label: str, **other: Any) -> Variant:
    return Variant(name, label, REWARD | other)


TRUE = Variant("true", "the person itself", {"loss": "none"}, trained=False)  # rendered, the upper bound
UNTRAINED = Variant("untrained", "untrained", {"loss": "none"}, trained=False)
DREAMBOOTH = Variant("dreambooth", "DreamBooth", {"loss": "none"})
LOSSES = (  # their gradients are compared
    _with_loss("biometric", 0.02),
    _with_loss("biometric", 0.1),
    _with_loss("triplet", 0.1),
    _with_loss("contrastive", 0.1),
    _with_loss("cosine", 0.1),
)
FIRST = (
    TRUE,
    UNTRAINED,
    Variant("plain", "plain", {"loss": "none"}, regularized=False),
    DREAMBOOTH,
    _rewarded("reward", "+ reward"),
)
REST = (
    _rewarded("reward-cheap", "+ small reward", reward_pictures=2, reward_steps=2),
    _rewarded("reward-anchor", "+ reward and anchor", reward_anchor=1.0),
    _rewarded("reward-identity", "+ reward of identity alone", reward_age=0.0),
    _with_loss("biometric", 0.02),  # the paper's 0.1 overwhelms the other losses; see gradients.json
    _with_loss("triplet", 0.1),
    Variant("prior-0.3", "DreamBooth, prior 0.3", {"loss": "none", "prior_loss_weight": 0.3}),
    Variant("prior-0.1", "DreamBooth, prior 0.1", {"loss": "none", "prior_loss_weight": 0.1}),
)
METHODS = (*FIRST, *REST)
_TRIED = REWARD | {"reward_age": 1.0, "reward_pictures": 2}
_LORA = {
    "method": "lora",
    "learning_rate": 2e-3,
    "lora_layers": ("attention", "feed-forward", "convolution"),
}
TRIED = (
    DREAMBOOTH,
    Variant("r1", "reward: caps 1 and 1, 2 pictures, every 3 steps", _TRIED),
    Variant("r0.3", "caps 0.3 and 0.3", _TRIED | {"reward_identity": 0.3, "reward_age": 0.3}),
    Variant("r3", "caps 3 and 3", _TRIED | {"reward_identity": 3.0, "reward_age": 3.0}),
    Variant("id1-age3", "caps 1 and 3 (identity and age)", _TRIED | {"reward_age": 3.0}),
    Variant("r1-4pics", "4 pictures", _TRIED | {"reward_pictures": 4}),
    Variant("a3-4p", "4 pictures, caps 1 and 3", REWARD),
    Variant("r1-every2", "every 2 steps", _TRIED | {"reward_every": 2}),
    Variant("r1-every6", "every 6 steps", _TRIED | {"reward_every": 6}),
    Variant("r1-late", "from the half of the training on", _TRIED | {"reward_start": 0.5}),
    Variant("r1-2steps", "2 sampling steps, not 4", _TRIED | {"reward_steps": 2}),
    Variant("r1-prior0.3", "prior 0.3", _TRIED | {"prior_loss_weight": 0.3}),
    Variant("r1-biometric", "biometric 0.02 beside it", _TRIED | {"loss": "biometric", "loss_weight": 0.01}),
    Variant("lora", "LoRA, rank 16, without reward", {"loss": "none"} | _LORA),
    Variant("lora-r1", "LoRA, rank 16", _TRIED | _LORA),
    Variant("lora-r1-rank4", "LoRA, rank 4", _TRIED | _LORA | {"rank": 4}),
)


@dataclass(frozen=True)
class Trial:
    """One variant on one subject with one seed."""

    variant: Variant
    subject: int
    seed: int

    @property
    def name(self) -> str:
        """The trial's name, unique in the study."""
        return f"{self.variant.name}/{self.subject}/{self.seed}"


def trials(seeds: int = len(SEEDS)) -> list[Trial]:
    """Returns the trials of the main table, FIRST methods first, so that a stopped study has them for all subjects."""
    return [
        Trial(method, person, seed)
        for methods in (FIRST, REST)
        for seed in SEEDS[:seeds]
        for person in PEOPLE
        for method in methods
        if method.trained or seed == 0
    ]


def tried() -> list[Trial]:
    """Returns the trials by which the reward's settings were chosen."""
    return [Trial(method, person, 0) for person in TUNED_ON for method in (UNTRAINED, *TRIED)]


def quick() -> list[Trial]:
    """Returns three methods on one person."""
    return [Trial(method, PEOPLE[0], 0) for method in (UNTRAINED, DREAMBOOTH, FIRST[-1])]

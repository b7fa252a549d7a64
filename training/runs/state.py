"""The training state on disk: what it must agree with to be resumed, saving and loading it."""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from ..config import PHOTO_SETTINGS, REWARD_SETTINGS
from ..dreambooth.trainer import Trainer
from ..errors import DamagedFile, MissingFile, RunMismatch
from ..files import written
from ..records import from_json
from ..weights import read_pickle

NAMED = 5  # images listed in an error
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, LookupError, RuntimeError, ValueError)  # of a damaged archive


class StateIsAhead(RunMismatch):
    """The saved state has more steps than were asked for."""


@dataclass(frozen=True)
class _State:
    """The entries of every state file."""

    run: dict[str, Any]
    step: int
    history: list[dict[str, float]]
    weights: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    scaler: dict[str, Any] | None


def run_identity(trainer: Trainer) -> dict[str, Any]:
    """The settings and inputs that must match to resume. Settings that cannot change the result are left out.

    PHOTO_SETTINGS are covered by the inputs, which hold each photo's prompt and mask.
    """
    config = trainer.config
    free = {"gradient_checkpointing", "checkpointing_steps", *PHOTO_SETTINGS}
    if config.timestep_sampling is None:
        free.add("timestep_sampling")  # runs from before this setting existed keep their id
    if not config.reward_every:
        free |= set(REWARD_SETTINGS)
    starts_late = config.reward_every and config.reward_start
    if config.lr_scheduler in ("constant", "constant_with_warmup") and not starts_late:
        free.add("max_train_steps")  # otherwise the learning rate or the reward of each step depends on it
    return {name: value for name, value in asdict(config).items() if name not in free} | trainer.inputs


def run_id(trainer: Trainer) -> str:
    """Twelve hexadecimal digits, the same for the same model, images and settings."""
    return hashlib.sha256(json.dumps(run_identity(trainer), sort_keys=True).encode()).hexdigest()[:12]


class StateFile:
    """Saves the state of ``trainer`` to ``path`` and resumes from it.

    ``hold`` is called before each write and raises if another process has taken over the run.
    """

    def __init__(self, trainer: Trainer, path: Path, hold: Callable[[], None] = lambda: None):
        self.trainer, self.path, self.hold = trainer, path, hold

    def save(self, diverged: bool = False) -> None:
        """Writes the state, unless its weights are not finite: then an earlier state is right.

        Only a state that ``diverged`` resumes with a lower learning rate.
        """
        trainer = self.trainer
        if not trainer.accelerator.is_main_process or not trainer.has_finite_weights():
            return
        self.hold()
        state = {
            "run": run_identity(trainer),
            "rate": trainer.config.rate,
            "diverged": diverged,
            "machine": machine(trainer.accelerator.device),
            **trainer.state_dict(),
        }
        with written(self.path) as temporary:
            torch.save(state, temporary)

    def resume(self) -> list[str]:
        """Loads the state. Returns sentences about a changed machine or a lowered learning rate.

        Raises UserError if there is no state, or it is damaged, of another run, or past the last step.
        """
        trainer, config = self.trainer, self.trainer.config
        if not self.path.is_file():
            raise MissingFile(f"There is nothing to resume: {self.path} does not exist. Start without resuming.")
        state = _read(self.path)
        slower = state.get("diverged", False) and config.rate < state["rate"]
        allowed = {"learning_rate": config.learning_rate} if slower else {}
        if differences := changes(state["run"] | allowed, run_identity(trainer)):
            raise RunMismatch(
                f"{self.path} belongs to another run: {'; '.join(differences)}. Use the same model, photos and "
                "settings, or start a new run."
            )
        if state["step"] > config.max_train_steps:
            raise StateIsAhead(
                f"{self.path} already has {state['step']} steps, more than the {config.max_train_steps} asked for. Ask "
                "for more steps, or start a new run."
            )
        try:
            _check_fit(trainer, state)
            trainer.load_state_dict(state)
        except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
            raise _damaged(self.path, "its steps, weights or optimizer state do not fit") from error
        remarks = []
        if slower:
            trainer.lower_rate(state["rate"])
            remarks.append(
                f"Training diverged at learning rate {state['rate']:g}; it is {config.rate:g} from step "
                f"{trainer.step_number} on."
            )
        here = machine(trainer.accelerator.device)
        if differences := changes(state.get("machine", here), here):  # early states have no machine
            remarks.append(
                f"The run began on another setup: {'; '.join(differences)}. Results may differ in the last bits from a "
                "run without interruption."
            )
        return remarks


def _read(path: Path) -> dict[str, Any]:
    """The content of a state file whose checksums are right. Raises DamagedFile."""
    try:
        with zipfile.ZipFile(path) as archive:  # torch writes a CRC-32 of each part, but does not compare it
            wrong = archive.testzip()
    except _ZIP_ERRORS as error:
        raise _damaged(path, "it is incomplete, or not a training state") from error
    if wrong:
        raise _damaged(path, f"the checksum of {wrong} is wrong")
    try:
        state = read_pickle(path)
        from_json(_State, state, str(path))
    except DamagedFile as error:
        raise _damaged(path, "it does not hold a training state") from error
    return state


def _damaged(path: Path, reason: str) -> DamagedFile:
    return DamagedFile(
        f"{path} cannot be resumed from: {reason}. Restore it from a backup, or delete it to train from the start."
    )


def _check_fit(trainer: Trainer, state: dict[str, Any]) -> None:
    """Raises ValueError for what ``load_state_dict`` would accept, broadcast or fail on only in the next step."""
    if not 0 <= state["step"] == len(state["history"]):
        raise ValueError(f"{state['step']} steps with {len(state['history'])} losses")
    weights = list(trainer.trainable.items())
    for name, weight in weights:
        if state["weights"][name].shape != weight.shape:
            raise ValueError(f"{name} has the shape {tuple(state['weights'][name].shape)}")
    for number, moments in state["optimizer"]["state"].items():
        name, weight = weights[number]
        for key in ("exp_avg", "exp_avg_sq", "state1", "state2"):  # AdamW, and its form with 8 bits
            if key in moments and moments[key].shape != weight.shape:
                raise ValueError(f"{key} of {name} has the shape {tuple(moments[key].shape)}")


def machine(device: torch.device) -> dict[str, Any]:
    """The parts of the setup that can change the last bits of a result."""
    cuda = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if cuda else torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "torch": str(torch.__version__),
    }


def changes(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    """The differences in words, at most NAMED images by name."""
    differences = []
    for name in sorted(before.keys() | after.keys()):
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            words = {key: "missing" if key not in new else "new" if key not in old else "changed"
                     for key in old | new if old.get(key) != new.get(key)}  # fmt: skip
            shown = [f"{key} is {word}" for key, word in words.items()]
            differences += shown[:NAMED] + ([f"{len(shown) - NAMED} more images differ"] if shown[NAMED:] else [])
        else:
            differences.append(f"{name} was {_short(old)} and is {_short(new)}")
    return differences


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:8]}..."

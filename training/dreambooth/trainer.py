"""DreamBooth with an identity loss: the loop (Ruiz et al. 2023; Banerjee et al., IJCB 2023)."""

import functools
import hashlib
import json
import operator
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..config import PHOTO_SETTINGS, REWARD_SETTINGS, TrainingConfig
from ..errors import UserError
from ..files import written
from ..models.interface import TrainableModel
from ..models.subject import describe, save_subject
from ..records import from_json
from ..runs.state import changes, machine
from ..weights import read_pickle
from . import losses
from .batches import Batch, TrainingData
from .face_reader import FaceReader
from .reward import UNSEEN, Drawn, Reward


@dataclass(frozen=True)
class Progress:
    """What a callback is told after each step."""

    step: int  # steps done
    steps: int  # steps asked for
    losses: dict[str, float]  # unweighted; an identity loss or reward is there only when a face was seen in this step
    learning_rate: float


Callback = Callable[[Progress], None]


class StopTraining(Exception):
    """Raised by a callback to end the run after this step; the state has been saved when it leaves ``run``."""


class TrainingEnough(Exception):
    """Raised by a callback when more steps would gain nothing: the run ends as it does after its last step."""


class TrainingDiverged(UserError):
    """A loss or gradient was not finite. The state saved is that before the bad step, and says so."""


class StateIsAhead(UserError):
    """The saved state has more steps than were asked for."""


@dataclass(frozen=True)
class _State:
    """What every saved state holds, beside tensors."""

    run: dict[str, Any]
    step: int
    history: list[dict[str, float]]
    weights: dict[str, Any]
    optimizer: dict[str, Any]
    scheduler: dict[str, Any]
    scaler: dict[str, Any] | None


class Trainer:
    """Trains ``model`` in place.

    ``inputs`` names everything beside ``config`` that the result depends on, so that no other run is resumed.
    """

    def __init__(
        self,
        model: TrainableModel,
        data: TrainingData,
        config: TrainingConfig,
        accelerator,
        inputs: dict[str, Any],
        face_reader: FaceReader | None = None,
        reward: Reward | None = None,
        extra_prompts: Iterable[str] = (),
    ):
        self.model, self.data, self.config, self.accelerator = model, data, config, accelerator
        self.inputs, self.face_reader, self.reward = inputs, face_reader, reward
        self.step_number = 0
        self._in_optimizer = False
        self.history: list[dict[str, float]] = []  # the losses of every step
        self.lowered: list[dict[str, float]] = []  # rates that diverged, and the last step of each
        self.remarks: list[str] = []  # what whoever started this should know
        self.title = ""  # the subject's name in its files; "": as each file is called
        self.before_saving: Callable[[], None] = lambda: None  # raises where the run is another's by now
        self.core: Any = model.denoiser
        self._choose_trainable(extra_prompts)
        self.trainable = {name: weight for name, weight in self.core.named_parameters() if weight.requires_grad}
        self.optimizer, self.scheduler = self._optimizer()
        self.denoiser, self.optimizer = accelerator.prepare(self.core, self.optimizer)
        if not config.trains_text_encoder and accelerator.num_processes == 1:
            model.release_text()  # several processes keep it, since they synchronise buffers

    def run(self, state_file: Path | None = None, callbacks: Iterable[Callback] = ()) -> None:
        """Steps until ``max_train_steps``, saving the state on the way and whenever anything ends the run before.

        An exception leaves with the state of the last whole step in ``state_file``; None keeps none.
        """
        callbacks, config = list(callbacks), self.config
        try:
            while self.step_number < config.max_train_steps:
                values = self.step()
                progress = Progress(
                    self.step_number, config.max_train_steps, values, self.optimizer.param_groups[0]["lr"]
                )
                if self.step_number % config.checkpointing_steps == 0 and self.step_number < config.max_train_steps:
                    self.save_state(state_file)
                for callback in callbacks:
                    callback(progress)
        except TrainingEnough:
            return
        except BaseException as error:
            if not self._in_optimizer:  # else some weights have changed and others not: an earlier state is right
                self.optimizer.zero_grad()
                self.save_state(state_file, diverged=isinstance(error, TrainingDiverged))
            raise

    def step(self) -> dict[str, float]:
        """One optimizer step: the mean loss of its micro-batches, by name."""
        accelerator, micro_batches = self.accelerator, self.config.gradient_accumulation_steps
        sums: dict[str, list[Tensor]] = {}
        for micro in range(micro_batches):
            number = self.step_number * micro_batches + micro
            batch = self.data.draw(number, accelerator.process_index, accelerator.num_processes)
            with accelerator.accumulate(self.denoiser), self.model.stepping(self.data.resolution):
                terms = self.losses(batch, self._drawn(micro))
                total = self.total(terms)
                self._require_finite(total, terms)
                accelerator.backward(total)
                if accelerator.sync_gradients:
                    longest = self.config.max_grad_norm or float("inf")
                    norm = accelerator.clip_grad_norm_(self.trainable.values(), longest)
                    if accelerator.scaler is None:
                        self._require_finite(norm, {"gradient": norm})
                self._in_optimizer = accelerator.sync_gradients
                self.optimizer.step()
                self.optimizer.zero_grad()
            for name, value in terms.items():
                sums.setdefault(name, []).append(value.detach())
        means = {name: torch.stack(values).mean().item() for name, values in sums.items()}
        self.scheduler.step()
        self.step_number += 1
        self.history.append(means)
        self._in_optimizer = False
        return means

    def _drawn(self, micro: int) -> Drawn | None:
        """What the reward judges in a micro-batch of this step, if anything."""
        if not self.reward or not self.reward.drawings(self.step_number):
            return None
        number = self.step_number // self.config.reward_every * self.config.gradient_accumulation_steps + micro
        return self.reward.draw(number, self.accelerator.process_index, self.accelerator.num_processes)

    def losses(self, batch: Batch, drawn: Drawn | None = None) -> dict[str, Tensor]:
        """Each loss of one micro-batch and of what was ``drawn`` beside it, unweighted, by name."""
        config, core, count = self.config, self.core, batch.instances
        x_t = core.noised(batch.x_0, batch.noise, batch.t)
        prediction, rewarded = self._predictions(x_t, batch, drawn)
        target = core.target(batch.x_0, batch.noise, batch.t)

        terms = {"reconstruction": losses.reconstruction(prediction[:count], target[:count], batch.weight)}
        if len(prediction) > count:
            terms["prior"] = losses.reconstruction(prediction[count:], target[count:])
        if config.loss == "contrastive":
            terms["contrastive"] = losses.contrastive(prediction, target, config.temperature)
        elif config.loss == "cosine":
            terms["cosine"] = losses.cosine(prediction, target)
        elif self.face_reader and len(batch.decode):
            chosen = batch.decode.to(x_t.device)
            x_0 = core.predicted_x0(prediction[chosen], x_t[chosen], batch.t[chosen])
            embedding = self.face_reader(x_0, batch.squares, batch.landmarks)
            if config.loss == "biometric":
                each = losses.biometric(embedding, batch.references)
            else:
                each = losses.triplet(embedding, batch.references, batch.negatives, config.triplet_margin)
            terms[config.loss] = each.sum() / count  # chosen with probability (1 - t/T)^2 instead of weighted by it
        if self.reward and drawn and rewarded is not None:
            length = losses.gradient_length(prediction[:count], target[:count], batch.weight)
            length = self.accelerator.reduce(length, "mean")
            terms |= self.reward.terms(rewarded, drawn, length, self.accelerator.num_processes)
        return terms

    def _predictions(self, x_t: Tensor, batch: Batch, drawn: Drawn | None) -> tuple[Tensor, Tensor | None]:
        """Of the batch and of what was drawn, which is square; in one forward pass, which is faster, if both are."""
        if drawn is None:
            return self.denoiser(x_t, batch.t, batch.prompts), None
        if x_t.shape[1:] != drawn.x_t.shape[1:]:
            return self.denoiser(x_t, batch.t, batch.prompts), self.denoiser(drawn.x_t, drawn.t, drawn.prompts)
        together = torch.cat([x_t, drawn.x_t]), torch.cat([batch.t, drawn.t]), batch.prompts + drawn.prompts
        prediction, rewarded = self.denoiser(*together).tensor_split([len(x_t)])
        return prediction, rewarded

    def weight(self, name: str) -> float:
        """What a loss counts in the total."""
        config = self.config
        known = {"reconstruction": 1.0, "prior": config.prior_loss_weight, "anchor": config.reward_anchor}
        known |= {"reward identity": 1.0, "reward age": 1.0, UNSEEN: 0.0}
        return known.get(name, config.loss_weight)

    def total(self, values: dict[str, Tensor]) -> Tensor:
        """The loss that is minimised, out of unweighted losses by name."""
        return functools.reduce(operator.add, (self.weight(name) * value for name, value in values.items()))

    @property
    def made_of(self) -> dict[str, Any]:
        """What must be the same for a state to go on. Saving more often and using less memory change no result.

        What PHOTO_SETTINGS change is among the inputs: the photos' prompts and weights.
        """
        free = {"gradient_checkpointing", "checkpointing_steps", *PHOTO_SETTINGS}
        if self.config.timestep_sampling is None:
            free.add("timestep_sampling")  # so that runs from before there was a choice are known again
        if not self.config.reward_every:
            free |= set(REWARD_SETTINGS)
        begins_late = self.config.reward_every and self.config.reward_start
        if self.config.lr_scheduler in ("constant", "constant_with_warmup") and not begins_late:
            free.add("max_train_steps")  # elsewhere the learning rate, or the reward, of every step depends on it
        return {name: value for name, value in asdict(self.config).items() if name not in free} | self.inputs

    @property
    def run_id(self) -> str:
        """Twelve hexadecimal digits of ``made_of``: the same model, pictures and settings have the same."""
        return hashlib.sha256(json.dumps(self.made_of, sort_keys=True).encode()).hexdigest()[:12]

    def save_state(self, state_file: Path | None, diverged: bool = False) -> None:
        """Weights, optimizer, scheduler and step. The random state is (seed, step): see TrainingData.

        Weights that are not finite are not saved: an earlier state is right. Only a state that ``diverged`` goes on
        with a lower learning rate.
        """
        if state_file is None or not self.accelerator.is_main_process or not self._finite_weights():
            return
        self.before_saving()
        state = {
            "run": self.made_of,
            "rate": self.config.rate,
            "lowered": self.lowered,
            "diverged": diverged,
            "machine": machine(self.accelerator.device),
            "step": self.step_number,
            "history": self.history,
            "weights": {name: weight.detach().cpu() for name, weight in self.trainable.items()},
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
        }
        with written(state_file) as temporary:
            torch.save(state, temporary)

    def resume(self, state_file: Path) -> None:
        """Goes on from a saved state. Raises UserError where there is none, it is of another run, or past the end."""
        if not state_file.is_file():
            raise UserError(f"There is nothing to resume: {state_file} does not exist. Start anew instead.")
        state = read_pickle(state_file)
        from_json(_State, state, str(state_file))
        slower = state.get("diverged", False) and self.config.rate < state["rate"]
        allowed = {"learning_rate": self.config.learning_rate} if slower else {}
        if differ := changes(state["run"] | allowed, self.made_of):
            raise UserError(f"{state_file} is of another run: {'; '.join(differ)}. Use what it used, or start anew.")
        if state["step"] > self.config.max_train_steps:
            raise StateIsAhead(
                f"{state_file} has {state['step']} steps already, more than the {self.config.max_train_steps} "
                "asked for. Ask for more, or start anew."
            )
        try:
            with torch.no_grad():
                for name, weight in self.trainable.items():
                    weight.copy_(state["weights"][name])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scheduler.load_state_dict(state["scheduler"])
            if self.accelerator.scaler and state["scaler"]:
                self.accelerator.scaler.load_state_dict(state["scaler"])
        except (LookupError, RuntimeError, TypeError, ValueError) as error:
            raise UserError(f"{state_file} is damaged: it does not hold all that training goes on from.") from error
        self.step_number, self.history = state["step"], state["history"]
        self.lowered = state.get("lowered", [])
        if slower:
            self._lower_rate(state["rate"])
        here = machine(self.accelerator.device)
        if differ := changes(state.get("machine", here), here):  # a state of before says nothing of it
            self.remarks.append(
                f"The run began elsewhere: {'; '.join(differ)}. Its numbers may differ in the last bits from those of "
                "an undisturbed run."
            )

    def _lower_rate(self, before: float) -> None:
        rate = self.config.rate
        for group in self.optimizer.param_groups:
            group["lr"] *= rate / before
            group["initial_lr"] = rate
        self.scheduler.base_lrs = [rate for _ in self.scheduler.base_lrs]
        self.lowered.append({"rate": before, "until": self.step_number})
        self.remarks.append(
            f"It diverged at {before:g}: the learning rate is {rate:g} from step {self.step_number} on."
        )

    def write_subject(self, path: Path, dtype: torch.dtype) -> None:
        """What has been trained so far, as a subject file in the number format ``dtype``."""
        header = describe(self.model, self.config, self.step_number, self.data.resolution)
        save_subject(path, self.model, header, self.config.lora_alpha, dtype, self.title or path.stem)

    def _choose_trainable(self, extra_prompts: Iterable[str]) -> None:
        config = self.config
        self.core.requires_grad_(False)
        if not config.trains_text_encoder:
            self.model.freeze_text([*self.data.prompts(), *extra_prompts])
        self.model.choose_trainable(config)

    def _optimizer(self):
        from diffusers.optimization import get_scheduler

        config, weights = self.config, list(self.trainable.values())
        if config.use_8bit_adam:
            try:
                from bitsandbytes.optim import AdamW8bit as AdamW
            except ImportError as error:
                raise UserError("use_8bit_adam needs the package bitsandbytes, which is not installed.") from error
        else:
            AdamW = torch.optim.AdamW
        optimizer = AdamW(weights, lr=config.rate, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
        return optimizer, get_scheduler(
            config.lr_scheduler,
            optimizer,
            num_warmup_steps=config.lr_warmup_steps,
            num_training_steps=config.max_train_steps,
        )

    def _require_finite(self, value: Tensor, terms: dict[str, Tensor]) -> None:
        if bool(self.accelerator.reduce(value.detach().float()).isfinite().all()):
            return
        bad = [name for name, term in terms.items() if not term.isfinite().all()]
        raise TrainingDiverged(
            f"Training stopped at step {self.step_number + 1}: the {' and '.join(bad) or 'loss'} is not a finite "
            f"number. Likely causes: a learning rate too high (now {self.config.rate:g}), fp16 where bf16 would do, or "
            "a damaged photo or model. "
            + (
                "The state before this step is saved; on the command line --resume goes on from it with a lower "
                "--learning-rate."
                if self._finite_weights()
                else "The weights are no numbers any more and are not saved; start anew with a lower learning rate."
            )
        )

    def _finite_weights(self) -> bool:
        return all(bool(weight.isfinite().all()) for weight in self.trainable.values())

"""The training loop of DreamBooth with an identity loss (Ruiz et al. 2023; Banerjee et al., IJCB 2023)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ..config import TrainingConfig
from ..errors import MissingInput, TrainingFailed
from ..models.interface import TrainableModel
from . import losses
from .batches import Batch, TrainingData
from .face_reader import FaceReader
from .reward import Generated, Reward


@dataclass(frozen=True)
class Progress:
    """What a callback receives after each step."""

    step: int  # steps done
    steps: int  # steps asked for
    losses: dict[str, float]  # unweighted losses and metrics; face terms only in steps that compared a face
    learning_rate: float


Callback = Callable[[Progress], None]
Save = Callable[[bool], None]  # saves the training state; True: the next step diverged


class StopTraining(Exception):
    """Raised by a callback to stop after this step; ``run`` saves the state first."""


class TrainingEnough(Exception):
    """Raised by a callback to end training early as if this were the last step."""


class TrainingDiverged(TrainingFailed):
    """A loss or gradient is not finite. The saved state is the one before that step."""


@dataclass(frozen=True)
class Terms:
    """The scalar tensors of one micro-batch, by name."""

    losses: dict[str, Tensor]  # unweighted; ``loss_weights`` has a weight for each
    metrics: dict[str, Tensor]  # recorded, not minimised

    @property
    def values(self) -> dict[str, Tensor]:
        """Losses and metrics together."""
        return self.losses | self.metrics


def loss_weights(config: TrainingConfig) -> dict[str, float]:
    """The weight of each loss in the total."""
    weights = {"reconstruction": 1.0, "prior": config.prior_loss_weight}
    if config.loss != "none":
        weights[config.loss] = config.loss_weight
    if config.reward_every:
        weights |= {"reward identity": 1.0, "reward age": 1.0, "anchor": config.reward_anchor}
    return weights


class Trainer:
    """Trains ``model``'s denoiser on batches of ``data``.

    ``inputs`` names everything beside ``config`` that the result depends on. ``extra_prompts`` are encoded together
    with the training prompts before the text encoder is released.
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
        self.weights = loss_weights(config)
        self.step_number = 0
        self._in_optimizer = False
        self.history: list[dict[str, float]] = []  # losses and metrics per step
        self.lowered: list[dict[str, float]] = []  # learning rates that diverged, each with its last step
        self.core: Any = model.denoiser
        self._choose_trainable(extra_prompts)
        self.trainable = {name: weight for name, weight in self.core.named_parameters() if weight.requires_grad}
        self.optimizer, self.scheduler = self._optimizer()
        self.denoiser, self.optimizer = accelerator.prepare(self.core, self.optimizer)
        if not config.trains_text_encoder and accelerator.num_processes == 1:
            model.release_text()  # several processes keep it, since they synchronise its buffers

    def run(self, save: Save = lambda diverged: None, callbacks: Iterable[Callback] = ()) -> None:
        """Trains until ``max_train_steps``.

        Calls ``save`` every ``checkpointing_steps``, and before an exception leaves if the weights are those of a
        completed step.
        """
        callbacks, config = list(callbacks), self.config
        try:
            while self.step_number < config.max_train_steps:
                values = self.step()
                rate = self.optimizer.param_groups[0]["lr"]
                if self.step_number % config.checkpointing_steps == 0 and self.step_number < config.max_train_steps:
                    save(False)
                for callback in callbacks:
                    callback(Progress(self.step_number, config.max_train_steps, values, rate))
        except TrainingEnough:
            return
        except BaseException as error:
            if not self._in_optimizer:  # otherwise only some weights have changed: an earlier state is right
                self.optimizer.zero_grad()
                save(isinstance(error, TrainingDiverged))
            raise

    def step(self) -> dict[str, float]:
        """Takes one optimizer step. Returns its losses and metrics, averaged over micro-batches."""
        accelerator, micro_batches = self.accelerator, self.config.gradient_accumulation_steps
        values: dict[str, list[Tensor]] = {}
        for micro in range(micro_batches):
            number = self.step_number * micro_batches + micro
            batch = self.data.sample(number, accelerator.process_index, accelerator.num_processes)
            with accelerator.accumulate(self.denoiser), self.model.stepping(self.data.resolution):
                terms = self.terms(batch, self._generated(micro))
                total = self.total(terms.losses)
                self._require_finite(total, terms.losses)
                accelerator.backward(total)
                if accelerator.sync_gradients:
                    limit = self.config.max_grad_norm or float("inf")
                    norm = accelerator.clip_grad_norm_(self.trainable.values(), limit)
                    if accelerator.scaler is None:
                        self._require_finite(norm, {"gradient": norm})
                self._in_optimizer = accelerator.sync_gradients
                self.optimizer.step()
                self.optimizer.zero_grad()
            for name, value in terms.values.items():
                values.setdefault(name, []).append(value.detach())
        means = {name: torch.stack(parts).mean().item() for name, parts in values.items()}
        self.scheduler.step()
        self.step_number += 1
        self.history.append(means)
        self._in_optimizer = False
        return means

    def terms(self, batch: Batch, generated: Generated | None = None) -> Terms:
        """The losses of one micro-batch, and the reward on the images ``generated`` beside it."""
        config, core, count = self.config, self.core, batch.instances
        x_t = core.noised(batch.x_0, batch.noise, batch.t)
        prediction, rewarded = self._predictions(x_t, batch, generated)
        target = core.target(batch.x_0, batch.noise, batch.t)

        values = {"reconstruction": losses.reconstruction(prediction[:count], target[:count], batch.weight)}
        if len(prediction) > count:
            values["prior"] = losses.reconstruction(prediction[count:], target[count:])
        if config.loss == "contrastive":
            values["contrastive"] = losses.contrastive(prediction, target, config.temperature)
        elif config.loss == "cosine":
            values["cosine"] = losses.cosine(prediction, target)
        elif self.face_reader and len(batch.decode):
            chosen = batch.decode.to(x_t.device)
            x_0 = core.predicted_x0(prediction[chosen], x_t[chosen], batch.t[chosen])
            embedding = self.face_reader(x_0, batch.squares, batch.landmarks)
            if config.loss == "biometric":
                per_face = losses.biometric(embedding, batch.references)
            else:
                per_face = losses.triplet(embedding, batch.references, batch.negatives, config.triplet_margin)
            values[config.loss] = per_face.sum() / count  # decoded with probability (1 - t/T)^2, so not weighted by it
        metrics: dict[str, Tensor] = {}
        if self.reward and generated and rewarded is not None:
            norm = losses.gradient_norm(prediction[:count], target[:count], batch.weight)
            norm = self.accelerator.reduce(norm, "mean")
            rewards, metrics = self.reward.terms(rewarded, generated, norm, self.accelerator.num_processes)
            values |= rewards
        return Terms(values, metrics)

    def total(self, values: dict[str, Tensor]) -> Tensor:
        """The weighted sum of losses by name. Raises KeyError for a loss without a weight."""
        total: Any = sum(self.weights[name] * value for name, value in values.items())
        return total

    def state_dict(self) -> dict[str, Any]:
        """Everything that training continues from. The random state is (seed, step): see TrainingData."""
        return {
            "step": self.step_number,
            "history": self.history,
            "lowered": self.lowered,
            "weights": {name: weight.detach().cpu() for name, weight in self.trainable.items()},
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.accelerator.scaler.state_dict() if self.accelerator.scaler else None,
        }

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from ``state``. Raises LookupError, RuntimeError, TypeError or ValueError if it does not fit."""
        for name, weight in self.trainable.items():
            weight.copy_(state["weights"][name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        if self.accelerator.scaler and state["scaler"]:
            self.accelerator.scaler.load_state_dict(state["scaler"])
        self.step_number, self.history = state["step"], state["history"]
        self.lowered = state.get("lowered", [])  # states saved by early versions have none

    def lower_rate(self, diverged: float) -> None:
        """Continues with the learning rate of ``config`` after training with the rate ``diverged`` did."""
        rate = self.config.rate
        for group in self.optimizer.param_groups:
            group["lr"] *= rate / diverged
            group["initial_lr"] = rate
        self.scheduler.base_lrs = [rate for _ in self.scheduler.base_lrs]
        self.lowered.append({"rate": diverged, "until": self.step_number})

    def has_finite_weights(self) -> bool:
        """Whether no trained weight is nan or inf."""
        return all(bool(weight.isfinite().all()) for weight in self.trainable.values())

    def _generated(self, micro: int) -> Generated | None:
        """The images that the reward judges in this micro-batch, if any."""
        if not self.reward or not self.reward.is_due(self.step_number):
            return None
        number = self.step_number // self.config.reward_every * self.config.gradient_accumulation_steps + micro
        return self.reward.generate(number, self.accelerator.process_index, self.accelerator.num_processes)

    def _predictions(self, x_t: Tensor, batch: Batch, generated: Generated | None) -> tuple[Tensor, Tensor | None]:
        """Predictions for the batch and for the generated images, in one forward pass if their shapes agree."""
        if generated is None:
            return self.denoiser(x_t, batch.t, batch.prompts), None
        if x_t.shape[1:] != generated.x_t.shape[1:]:
            prediction = self.denoiser(x_t, batch.t, batch.prompts)
            return prediction, self.denoiser(generated.x_t, generated.t, generated.prompts)
        together = torch.cat([x_t, generated.x_t]), torch.cat([batch.t, generated.t]), batch.prompts + generated.prompts
        prediction, rewarded = self.denoiser(*together).tensor_split([len(x_t)])
        return prediction, rewarded

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
                raise MissingInput("use_8bit_adam needs the package bitsandbytes, which is not installed.") from error
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
        nonfinite = [name for name, term in terms.items() if not term.isfinite().all()]
        if self.has_finite_weights():
            advice = "The state before this step is saved. Resume from it with a lower learning rate."
        else:
            advice = "The weights are not finite either and were not saved. Start again with a lower learning rate."
        raise TrainingDiverged(
            f"Training diverged at step {self.step_number + 1}: the {' and '.join(nonfinite) or 'loss'} is not finite. "
            f"Likely causes: a learning rate that is too high (now {self.config.rate:g}), fp16 precision, or a damaged "
            f"photo or model. {advice}"
        )

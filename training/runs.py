"""Runs kept on disk: what was trained once is found again, and a longer run goes on where a shorter one ended."""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .files import read_pickle, written
from .previews import draw_ages
from .run import train_subject
from .trainer import Callback, StateIsAhead, Trainer


@dataclass(frozen=True)
class FinishedRun:
    """A trained subject and the record of its training."""

    file: Path  # the subject
    history: list[dict[str, float]]  # the unweighted losses of every step
    previews: list[Image.Image]  # one an age class, drawn after the last step
    resumed_at: int | None  # the step from which this call trained; None: it found the subject finished


def run_folder(root: Path, name: str, trainer: Trainer) -> Path:
    """The folder of this run under ``root``, whatever name it was started with; or a new one called ``name``."""
    return next(root.glob(f"*_{trainer.run_id}"), root / f"{name}_{trainer.run_id}")


def finish(trainer: Trainer, folder: Path, callbacks: Iterable[Callback] = ()) -> FinishedRun:
    """The run of ``trainer`` in ``folder``: as it was finished before, else resumed where it stopped, else from anew.

    What ends a run early leaves this function with the state in ``folder``, from where the next call goes on.
    """
    file = folder / f"{trainer.config.max_train_steps}_steps.safetensors"
    record = file.with_suffix(".pt")
    if file.is_file() and record.is_file():
        known = read_pickle(record)
        previews = [Image.fromarray(pixels.numpy()) for pixels in known["previews"]]
        return FinishedRun(file, known["history"], previews, None)
    trainer.state_file = folder / "state.pt"
    if trainer.state_file.is_file():
        with contextlib.suppress(StateIsAhead):
            trainer.resume()
    start = trainer.step_number
    trainer.run(callbacks)
    previews = draw_ages(trainer)
    with written(record) as temporary:
        pixels = torch.from_numpy(np.stack([np.asarray(preview) for preview in previews]))
        torch.save({"history": trainer.history, "previews": pixels}, temporary)
    # A full fine-tune's state is three times the model: too much to keep for a continuation that may never come.
    train_subject(trainer, file, torch.float16, keep_state=trainer.config.method == "lora")
    return FinishedRun(file, trainer.history, previews, start)

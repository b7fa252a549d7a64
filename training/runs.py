"""Runs kept on disk: what was trained once is found again, and a longer run goes on where a shorter one ended."""

import contextlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from .files import read_pickle, written
from .looks import Look, best
from .run import save_trained
from .trainer import Callback, StateIsAhead, Trainer
from .watcher import Watcher, step_file


@dataclass(frozen=True)
class FinishedRun:
    """A trained subject and the record of its training."""

    last: Path  # the subject after the last step
    history: list[dict[str, float]]  # the unweighted losses of every step
    previews: list[Image.Image]  # one an age class, drawn after the last step
    looks: list[Look]  # none where nobody judged
    resumed_at: int | None  # the step from which this call trained; None: it found the subject finished

    @property
    def file(self) -> Path:
        """The subject to use: that of the best look, or of the last step where nobody looked."""
        chosen = best(self.looks)
        return step_file(self.last.parent, chosen.step) if chosen else self.last


def run_folder(root: Path, name: str, trainer: Trainer) -> Path:
    """The folder of this run under ``root``, whatever name it was started with; or a new one called ``name``."""
    return next(root.glob(f"*_{trainer.run_id}"), root / f"{name}_{trainer.run_id}")


def finish(trainer: Trainer, folder: Path, watcher: Watcher, callbacks: Iterable[Callback] = ()) -> FinishedRun:
    """The run of ``trainer`` in ``folder``: as it was finished before, else resumed where it stopped, else from anew.

    ``watcher`` looks at it on the way and draws the previews. What ends a run early leaves this function with the state
    in ``folder``, from where the next call goes on.
    """
    last = folder / f"{trainer.config.max_train_steps}_steps.safetensors"
    record = last.with_suffix(".pt")
    if last.is_file() and record.is_file():
        known = read_pickle(record)
        previews = [Image.fromarray(pixels.numpy()) for pixels in known["previews"]]
        return FinishedRun(last, known["history"], previews, [Look(**look) for look in known["looks"]], None)
    trainer.state_file = folder / "state.pt"
    if trainer.state_file.is_file():
        with contextlib.suppress(StateIsAhead):
            trainer.resume()
    start = trainer.step_number
    watcher.open(folder)
    trainer.run([*callbacks, watcher])
    watcher.close()
    with written(record) as temporary:
        pixels = torch.from_numpy(np.stack([np.asarray(preview) for preview in watcher.pictures]))
        looks = [asdict(look) for look in watcher.looks]
        torch.save({"history": trainer.history, "previews": pixels, "looks": looks}, temporary)
    # A full fine-tune's state is three times the model: too much to keep for a continuation that may never come.
    save_trained(trainer, last, torch.float16, keep_state=trainer.config.method == "lora")
    return FinishedRun(last, trainer.history, watcher.pictures, watcher.looks, start)

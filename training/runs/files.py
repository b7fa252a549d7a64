"""Runs kept on disk: what was trained once is found again, and a longer run goes on where a shorter one ended."""

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..dreambooth.trainer import Callback, Trainer, TrainingEnough
from ..files import check_room, clear_partial, written
from ..models.stable_diffusion.model import Model
from ..pictures.photos import Photo, save
from ..records import from_json as read_record
from ..records import read_json
from .curves import curves
from .lease import Hold
from .looks import Look, best, read_looks
from .watcher import Watcher, step_file

History = list[dict[str, float]]  # the unweighted losses of every step


@dataclass(frozen=True)
class RunFiles:
    """Where a run keeps what it makes: all of it beside its subject, whoever started it."""

    subject: Path  # a .safetensors

    @property
    def folder(self) -> Path:
        """The run's own folder."""
        return self.subject.parent

    @property
    def state(self) -> Path:
        """What an unfinished run resumes from."""
        return self.folder / "training-state.pt"

    @property
    def losses(self) -> Path:
        """A table of the losses of every step."""
        return self.folder / "losses.csv"

    @property
    def curves(self) -> Path:
        """The same as a picture, with what was seen on the way."""
        return self.folder / "curves.png"

    @property
    def record(self) -> Path:
        """The losses and looks of the training that ended in this subject."""
        return self.subject.with_suffix(".json")

    @property
    def previews(self) -> Path:
        """The six ages beside each other, as drawn after its last step."""
        return self.subject.with_suffix(".png")


@dataclass(frozen=True)
class _Record:
    losses: History
    looks: list[Any]


@dataclass(frozen=True)
class FinishedRun:
    """A trained subject and the record of its training."""

    last: Path  # the subject after the last step
    history: History
    previews: list[Image.Image]  # one an age class, drawn after the last step; none where nothing looked
    looks: list[Look]  # none where nobody judged
    resumed_at: int | None  # the step from which this call trained; None: it found the subject finished

    @property
    def file(self) -> Path:
        """The subject to use: that of the best look, or of the last step where nobody looked."""
        chosen = best(self.looks)
        return step_file(self.last.parent, chosen.step) if chosen else self.last


def run_files(root: Path, name: str, trainer: Trainer) -> RunFiles:
    """Those of this run under ``root``, whatever name it was started with; or of a new one called ``name``."""
    folder = next(root.glob(f"*_{trainer.run_id}"), root / f"{name}_{trainer.run_id}")
    return RunFiles(folder / f"{trainer.config.max_train_steps}_steps.safetensors")


def finished(files: RunFiles, keep_state: bool = False) -> FinishedRun | None:
    """What a training left that ended before; None where none did.

    It may have been killed before it deleted its state, which is then done here; a state that is younger than the
    subject is that of a longer run.
    """
    if not (files.subject.is_file() and files.record.is_file()):
        return None
    if not keep_state and files.state.is_file() and files.state.stat().st_mtime <= files.subject.stat().st_mtime:
        files.state.unlink()
    source = str(files.record)
    known = read_record(_Record, read_json(files.record), source)
    return FinishedRun(files.subject, known.losses, _cut(files.previews), read_looks(known.looks, source), None)


def finish(
    trainer: Trainer,
    files: RunFiles,
    watcher: Watcher | None = None,
    callbacks: Iterable[Callback] = (),
    dtype: torch.dtype = torch.float16,
    keep_state: bool = False,
    hold: Hold = lambda: None,
) -> FinishedRun:
    """Trains to the end and writes ``files``, the subject last: where it is, everything is.

    The state for resuming is then deleted; with ``keep_state`` it stays, so that a longer run can go on from there.
    ``watcher`` looks on the way. ``hold`` is that of the folder's lease. What ends a run early leaves this function
    with the state saved.
    """
    start, main = trainer.step_number, trainer.accelerator.is_main_process
    trainer.before_saving = hold
    watchers = [watcher] if watcher else []
    if main:
        clear_partial(files.folder)
        check_room(files.folder, _size(trainer, dtype, files.state.exists()))
    try:
        if watcher:
            watcher.resume()
        trainer.run(files.state, [lambda _: hold(), *callbacks, *watchers])
    except TrainingEnough:  # already when it was resumed
        pass
    finally:
        if main and trainer.history:
            hold()
            _write_losses(files.losses, trainer.history)
    try:
        if watcher:
            watcher.close()
        looks, pictures = (watcher.looks, watcher.pictures) if watcher else ([], [])
        hold()
        if main:
            _write(trainer, files, looks, pictures, dtype)
    except BaseException:  # a full disk, say: the last step is not trained again for it
        trainer.save_state(files.state)
        raise
    if keep_state:
        trainer.save_state(files.state)
    elif main:
        files.state.unlink(missing_ok=True)
    trainer.accelerator.wait_for_everyone()
    return FinishedRun(files.subject, trainer.history, pictures, looks, start)


def _write(
    trainer: Trainer, files: RunFiles, looks: list[Look], pictures: list[Image.Image], dtype: torch.dtype
) -> None:
    save(curves(trainer.history, looks), files.curves)
    if pictures:
        save(_beside_each_other(pictures), files.previews)
    with written(files.record) as temporary:
        looks_seen = [asdict(look) for look in looks]
        record = {"losses": trainer.history, "looks": looks_seen, "lowered": trainer.lowered}
        temporary.write_text(json.dumps(record))
    trainer.write_subject(files.subject, dtype)


def _size(trainer: Trainer, dtype: torch.dtype, resumed: bool) -> int:
    """Bytes that a run adds at most: its subject, and a state beside the one that it replaces, with AdamW's moments."""
    config = trainer.config
    trained = sum(weight.numel() for weight in trainer.trainable.values())
    model = trainer.model
    parts = (trainer.core, model.codec) if config.method == "full" and isinstance(model, Model) else ()
    whole = sum(weight.numel() for part in parts for weight in part.parameters()) or trained
    states = 1 if resumed or config.max_train_steps <= config.checkpointing_steps else 2
    return states * trained * (4 + (2 if config.use_8bit_adam else 8)) + whole * dtype.itemsize


def _write_losses(path: Path, history: History) -> None:
    names = list(dict.fromkeys(name for losses in history for name in losses))
    with written(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", *names])
        writer.writeheader()
        writer.writerows({"step": step, **losses} for step, losses in enumerate(history, 1))


def _beside_each_other(pictures: list[Image.Image]) -> Image.Image:
    width, height = pictures[0].size
    strip = Image.new("RGB", (width * len(pictures), height))
    for number, picture in enumerate(pictures):
        strip.paste(picture, (number * width, 0))
    return strip


def _cut(file: Path) -> list[Image.Image]:
    """The square pictures that ``file`` holds beside each other; none where it is missing."""
    if not file.is_file():
        return []
    strip = Photo(file.name, file).image()
    side = strip.height
    return [strip.crop((left, 0, left + side, side)) for left in range(0, strip.width, side)]

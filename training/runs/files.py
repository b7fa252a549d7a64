"""The files of one run: their paths, their contents, and how to read a finished run."""

import csv
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ..dreambooth.trainer import Trainer
from ..files import written
from ..models.subject import describe, save_subject
from ..pictures.photos import Photo, save
from ..records import from_json, read_json
from .curves import curves
from .evaluations import Evaluation, best, read_evaluations
from .kohya import kohya_entries
from .previewer import step_file

History = list[dict[str, float]]  # losses and metrics per step


@dataclass(frozen=True)
class RunFiles:
    """The paths of one run, all beside its subject file."""

    subject: Path  # a .safetensors file

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.subject.parent

    @property
    def state(self) -> Path:
        """The state that an unfinished run resumes from."""
        return self.folder / "training-state.pt"

    @property
    def losses(self) -> Path:
        """A table of the losses per step."""
        return self.folder / "losses.csv"

    @property
    def curves(self) -> Path:
        """Losses and evaluations as a chart."""
        return self.folder / "curves.png"

    @property
    def record(self) -> Path:
        """Losses and evaluations of the training that produced the subject."""
        return self.subject.with_suffix(".json")

    @property
    def previews(self) -> Path:
        """The six ages after the last step, side by side."""
        return self.subject.with_suffix(".png")


@dataclass(frozen=True)
class _Record:
    losses: History
    looks: list[Any]  # evaluations


@dataclass(frozen=True)
class FinishedRun:
    """A trained subject and the record of its training."""

    last: Path  # the subject after the last step
    history: History
    previews: list[Image.Image]  # one per age class after the last step; empty if there were no previews
    evaluations: list[Evaluation]  # empty without a judge
    resumed_at: int | None  # the step at which this call started training; None: it was already finished

    @property
    def file(self) -> Path:
        """The subject to use: the best evaluated step, or the last step without a judge."""
        chosen = best(self.evaluations)
        return step_file(self.last.parent, chosen.step) if chosen else self.last


def run_files(root: Path, name: str, run: str, steps: int) -> RunFiles:
    """The files of run id ``run`` under ``root``: an existing run keeps its folder, a new one is called ``name``."""
    folder = next(root.glob(f"*_{run}"), root / f"{name}_{run}")
    return RunFiles(folder / f"{steps}_steps.safetensors")


def finished(files: RunFiles, keep_state: bool = False) -> FinishedRun | None:
    """A run that finished earlier; None if it did not.

    Deletes a state that a killed process left behind, unless ``keep_state``. A state that is younger than the subject
    belongs to a longer run and stays.
    """
    if not (files.subject.is_file() and files.record.is_file()):
        return None
    if not keep_state and files.state.is_file() and files.state.stat().st_mtime <= files.subject.stat().st_mtime:
        files.state.unlink()
    source = str(files.record)
    record = from_json(_Record, read_json(files.record), source)
    return FinishedRun(
        files.subject, record.losses, _split(files.previews), read_evaluations(record.looks, source), None
    )


def write_subject(trainer: Trainer, path: Path, dtype: torch.dtype, title: str = "") -> None:
    """Writes what is trained so far to ``path`` in number format ``dtype``; ``title`` defaults to the file's name."""
    header = describe(trainer.model, trainer.config, trainer.step_number, trainer.data.resolution)
    title = title or path.stem
    entries = kohya_entries(trainer, title) if header.method == "lora" else {}
    save_subject(path, trainer.model, header, trainer.config.lora_alpha, dtype, title, entries)


def write_run(
    trainer: Trainer,
    files: RunFiles,
    evaluations: list[Evaluation],
    previews: list[Image.Image],
    dtype: torch.dtype,
    title: str,
) -> None:
    """Writes all files of a finished run, the subject last: if it exists, so does everything else."""
    save(curves(trainer.history, evaluations), files.curves)
    if previews:
        save(_side_by_side(previews), files.previews)
    with written(files.record) as temporary:
        record = {
            "losses": trainer.history,
            "looks": [asdict(evaluation) for evaluation in evaluations],
            "lowered": trainer.lowered,
        }
        temporary.write_text(json.dumps(record))
    write_subject(trainer, files.subject, dtype, title)


def write_losses(path: Path, history: History) -> None:
    """Writes ``history`` as a CSV table, one row per step."""
    names = list(dict.fromkeys(name for values in history for name in values))
    with written(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["step", *names])
        writer.writeheader()
        writer.writerows({"step": step, **values} for step, values in enumerate(history, 1))


def _side_by_side(images: list[Image.Image]) -> Image.Image:
    width, height = images[0].size
    strip = Image.new("RGB", (width * len(images), height))
    for number, image in enumerate(images):
        strip.paste(image, (number * width, 0))
    return strip


def _split(file: Path) -> list[Image.Image]:
    """The square images side by side in ``file``; empty if it does not exist."""
    if not file.is_file():
        return []
    strip = Photo(file.name, file).image()
    side = strip.height
    return [strip.crop((left, 0, left + side, side)) for left in range(0, strip.width, side)]

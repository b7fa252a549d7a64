"""Functions for the processes that tests/hostile kills. A fork server imports this once, so that they start fast."""

import os
import signal
import sys
from pathlib import Path

import accelerate
import diffusers.optimization
import diffusers.schedulers.scheduling_ddpm
import diffusers.training_utils
import peft
import torch
import transformers

from tests.parts import ToyEmbedder, known_place, resume, subject_set, tiny_trainer
from training.__main__ import main
from training.faces.observation import Observer
from training.runs import session
from training.runs.evaluations import Judge, PreviewPlan
from training.runs.files import RunFiles, finished, write_subject
from training.runs.previewer import Previewer
from training.runs.session import finish

PRELOADED = (accelerate, diffusers, peft, transformers)
OBSERVER = Observer(known_place, ToyEmbedder())


def command(*arguments: str) -> None:
    """Runs one command of the command line."""
    torch.set_num_threads(1)
    sys.exit(main(arguments))


def run(folder: Path, last: int | None = None) -> None:
    """Finishes a run with a judge: resumes or starts it unless it is finished.

    Kills its own process before the rename or deletion number ``last``, counted from 1.
    """
    torch.set_num_threads(1)
    changes = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal changes
        if (
            event in ("os.rename", "os.remove")
            and Path(arguments[0]).is_relative_to(folder)
            and Path(arguments[0]).exists()
        ):
            changes += 1
            if changes == last:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)
    plan = PreviewPlan(1, OBSERVER)
    trainer = tiny_trainer(previews=plan, max_train_steps=2, checkpointing_steps=1)
    files = RunFiles(folder / "anna.safetensors")
    if not finished(files):
        if files.state.exists():
            resume(trainer, files.state)
        judge = Judge.of(subject_set(), OBSERVER)
        previewer = Previewer(trainer, plan, folder, judge, lambda path: write_subject(trainer, path, torch.float16))
        finish(trainer, files, previewer, precision=torch.float32)


def run_unchecked(folder: Path) -> None:
    """Like ``run``, but without checking for free disk space first."""
    session.check_room = lambda *_: None
    run(folder)

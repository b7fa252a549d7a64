"""Training that watches: draws the six ages now and then, has them judged, and keeps the best step beside the last."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from PIL import Image

from .errors import UserError
from .files import written
from .looks import Judge, Look, best, gained
from .previews import draw_ages
from .subject import describe, save_subject
from .trainer import Progress, Trainer, TrainingEnough

Show = Callable[[list[Image.Image], Look | None], None]


def step_file(folder: Path, step: int) -> Path:
    """Where a run in ``folder`` keeps the subject of a look that was the best so far."""
    return folder / f"step_{step}.safetensors"


class Watcher:
    """A trainer's callback: a look every ``every`` steps (0: never) and after the last.

    With a ``judge`` each look that has a higher score than all before is kept as a subject file, and with ``patience``
    training ends once neither identity nor age was better in that many looks. ``show`` gets each look's pictures;
    what ``check`` raises ends the drawing. ``build_trainer`` must have been given the preview prompts.
    """

    def __init__(
        self,
        trainer: Trainer,
        every: int,
        judge: Judge | None = None,
        patience: int = 0,
        show: Show = lambda pictures, look: None,
        check: Callable[[], None] = lambda: None,
    ):
        if every < 0 or patience < 0:
            raise UserError(f"A look every {every} steps with patience {patience} makes no sense; use 0 or more.")
        self.trainer, self.every, self.judge, self.patience = trainer, every, judge, patience
        self.show, self.check = show, check
        self.looks: list[Look] = []
        self.pictures: list[Image.Image] = []  # of the latest look
        self.looked_at: int | None = None  # step
        self.folder: Path | None = None
        if judge:  # what is kept and where training ends depend on it, so it is a part of the run
            trainer.inputs["judge"] = f"{judge.name}, every {every} steps, patience {patience}"

    def open(self, folder: Path) -> None:
        """Keeps files in ``folder`` and goes on from the looks there, up to the trainer's step."""
        self.folder = folder
        if self.trainer.step_number and self._record.is_file():
            looks = [Look(**known) for known in json.loads(self._record.read_text())]
            self.looks = [look for look in looks if look.step <= self.trainer.step_number]

    def __call__(self, progress: Progress) -> None:
        """Called after each step. Raises TrainingEnough when patience is at its end."""
        last = progress.step == progress.steps
        if not last and (not self.every or progress.step % self.every):
            return
        self.look()
        if self.judge and self.patience and not last and not gained(self.looks, self.patience):
            raise TrainingEnough

    def look(self) -> None:
        """Draws, judges, keeps and shows what there is at this step."""
        main, self.looked_at = self.trainer.accelerator.is_main_process, self.trainer.step_number
        if main:
            self.pictures = draw_ages(self.trainer, self.check)
        if self.judge:
            self._judge()
        if main:
            self.show(self.pictures, self.looks[-1] if self.looks else None)

    def close(self) -> None:
        """Looks at a last step that was reached before, and drops what is too large to keep."""
        if self.looked_at != self.trainer.step_number:
            self.look()
        main = self.trainer.accelerator.is_main_process
        if main and self.trainer.config.method == "full":  # each of these files is as large as the model
            for look in self.looks:
                if look != self.best:
                    step_file(self.folder, look.step).unlink(missing_ok=True)

    @property
    def best(self) -> Look | None:
        """The look with the highest score."""
        return best(self.looks)

    @property
    def _record(self) -> Path:
        return self.folder / "looks.json"

    def _judge(self) -> None:
        from accelerate.utils import broadcast_object_list

        trainer = self.trainer
        main = trainer.accelerator.is_main_process
        look = self.judge.look(trainer.step_number, self.pictures) if main else None
        (look,) = broadcast_object_list([look])  # all processes must end at the same step
        self.looks = [known for known in self.looks if known.step != look.step] + [look]
        if not main:
            return
        if self.best is look:
            model, config = trainer.model, trainer.config
            header = describe(model, config, trainer.step_number, trainer.data.resolution)
            save_subject(step_file(self.folder, look.step), model, header, config.lora_alpha, torch.float16)
        with written(self._record) as temporary:
            temporary.write_text(json.dumps([asdict(look) for look in self.looks], indent=1))

"""Training that watches: draws the six ages now and then, has them judged, and keeps the best step beside the last."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch
from PIL import Image

from ..dreambooth.trainer import Progress, Trainer, TrainingEnough
from ..files import written
from ..models.subject import STEP_FILE
from ..records import read_json
from .looks import Judge, Look, LookPlan, best, gained, read_looks
from .previews import draw_ages

Show = Callable[[list[Image.Image], Look | None], None]


def step_file(folder: Path, step: int) -> Path:
    """Where a run in ``folder`` keeps the subject of a look that was the best so far."""
    return folder / STEP_FILE.format(step)


class Watcher:
    """A trainer's callback: looks as ``plan`` says.

    With a ``judge`` each look that has a higher score than all before is kept as a subject file in ``folder``.
    ``show`` gets each look's pictures; what ``check`` raises ends the drawing. ``build_trainer`` must have been given
    the same ``plan``.
    """

    def __init__(
        self,
        trainer: Trainer,
        plan: LookPlan,
        folder: Path,
        judge: Judge | None = None,
        show: Show = lambda pictures, look: None,
        check: Callable[[], None] = lambda: None,
    ):
        self.trainer, self.plan, self.folder, self.judge = trainer, plan, folder, judge
        self.show, self.check = show, check
        self.looks: list[Look] = []
        self.pictures: list[Image.Image] = []  # of the latest look
        self.looked_at: int | None = None  # step

    def resume(self) -> None:
        """Goes on from the looks in ``folder``, up to the trainer's step, and makes the one that a kill prevented.

        The state of a step is saved before that step is looked at. Raises TrainingEnough as a call does.
        """
        step = self.trainer.step_number
        if not self.judge or not step:
            return
        if self._record.is_file():
            looks = read_looks(read_json(self._record), str(self._record))
            self.looks = [look for look in looks if look.step <= step]
        if self._due(step):
            if all(look.step != step for look in self.looks):
                self.look()
            self._end_without_gain()

    def __call__(self, progress: Progress) -> None:
        """Called after each step. Raises TrainingEnough when patience is at its end."""
        if self._due(progress.step):
            self.look()
            self._end_without_gain()

    def look(self) -> None:
        """Draws, judges, keeps and shows what there is at this step."""
        main, self.looked_at = self.trainer.accelerator.is_main_process, self.trainer.step_number
        if main:
            self.pictures = draw_ages(self.trainer, self.check)
        if self.judge:
            self._judge(self.judge)
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

    def _end_without_gain(self) -> None:
        last = self.trainer.step_number == self.trainer.config.max_train_steps
        if self.judge and self.plan.patience and not last and not gained(self.looks, self.plan.patience):
            raise TrainingEnough

    def _due(self, step: int) -> bool:
        every = self.plan.every
        return step == self.trainer.config.max_train_steps or bool(step and every and step % every == 0)

    @property
    def _record(self) -> Path:
        return self.folder / "looks.json"

    def _judge(self, judge: Judge) -> None:
        from accelerate.utils import broadcast_object_list

        trainer = self.trainer
        main = trainer.accelerator.is_main_process
        look = judge.look(trainer.step_number, self.pictures) if main else None
        (look,) = broadcast_object_list([look])  # all processes must end at the same step
        self.looks = [known for known in self.looks if known.step != look.step] + [look]
        if not main:
            return
        trainer.before_saving()  # looking takes a while
        if self.best is look:
            trainer.write_subject(step_file(self.folder, look.step), torch.float16)
        with written(self._record) as temporary:
            temporary.write_text(json.dumps([asdict(look) for look in self.looks], indent=1))

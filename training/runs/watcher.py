"""Previews during training: generates the six ages, has them judged, and keeps the best step beside the last."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from ..dreambooth.trainer import Progress, Trainer, TrainingEnough
from ..files import written
from ..models.subject import STEP_FILE
from ..records import read_json
from .lease import Hold
from .looks import Judge, Look, LookPlan, best, gained, read_looks
from .previews import draw_ages

Show = Callable[[list[Image.Image], Look | None], None]
Write = Callable[[Path], None]  # writes the subject as trained so far


def step_file(folder: Path, step: int) -> Path:
    """The subject file of a step that was the best so far."""
    return folder / STEP_FILE.format(step)


class Watcher:
    """A trainer's callback that previews the six ages as ``plan`` says.

    With a ``judge``, each preview that scores higher than all before it is kept in ``folder`` by ``write``. ``show``
    receives the images of each preview. An exception from ``check`` ends the sampling. ``hold`` is called before files
    are written. ``build_trainer`` needs the same ``plan``.
    """

    def __init__(
        self,
        trainer: Trainer,
        plan: LookPlan,
        folder: Path,
        judge: Judge | None,
        write: Write,
        show: Show = lambda images, look: None,
        check: Callable[[], None] = lambda: None,
        hold: Hold = lambda: None,
    ):
        self.trainer, self.plan, self.folder, self.judge = trainer, plan, folder, judge
        self.write, self.show, self.check, self.hold = write, show, check, hold
        self.looks: list[Look] = []
        self.pictures: list[Image.Image] = []  # of the latest preview
        self.looked_at: int | None = None  # step

    def resume(self) -> None:
        """Continues from the evaluations in ``folder`` up to the trainer's step, adding one that a kill prevented.

        A step's state is saved before its preview. Raises TrainingEnough as a call does.
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
        """Called after each step. Raises TrainingEnough when patience runs out."""
        if self._due(progress.step):
            self.look()
            self._end_without_gain()

    def look(self) -> None:
        """Generates, judges, keeps and shows the six ages at this step."""
        main, self.looked_at = self.trainer.accelerator.is_main_process, self.trainer.step_number
        if main:
            self.pictures = draw_ages(self.trainer, self.check)
        if self.judge:
            self._judge(self.judge)
        if main:
            self.show(self.pictures, self.looks[-1] if self.looks else None)

    def close(self) -> None:
        """Previews the last step if that is missing, and deletes files that are too large to keep."""
        if self.looked_at != self.trainer.step_number:
            self.look()
        main = self.trainer.accelerator.is_main_process
        if main and self.trainer.config.method == "full":  # each of these files is as large as the model
            for look in self.looks:
                if look != self.best:
                    step_file(self.folder, look.step).unlink(missing_ok=True)

    @property
    def best(self) -> Look | None:
        """The evaluation with the highest score."""
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

        main = self.trainer.accelerator.is_main_process
        look = judge.look(self.trainer.step_number, self.pictures) if main else None
        (look,) = broadcast_object_list([look])  # all processes must stop at the same step
        self.looks = [earlier for earlier in self.looks if earlier.step != look.step] + [look]
        if not main:
            return
        self.hold()  # judging takes a while
        if self.best is look:
            self.write(step_file(self.folder, look.step))
        with written(self._record) as temporary:
            temporary.write_text(json.dumps([asdict(look) for look in self.looks], indent=1))

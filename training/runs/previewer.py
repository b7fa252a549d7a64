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
from .evaluations import Evaluation, Judge, PreviewPlan, best, gained, read_evaluations
from .lease import Hold
from .previews import generate_ages

LOOKS = "looks.json"  # the evaluations of all previews so far
Show = Callable[[list[Image.Image], Evaluation | None], None]
Write = Callable[[Path], None]  # writes the subject as trained so far


def step_file(folder: Path, step: int) -> Path:
    """The subject file of a step that was the best so far."""
    return folder / STEP_FILE.format(step)


class Previewer:
    """A trainer's callback that previews the six ages as ``plan`` says.

    With a ``judge``, each preview that scores higher than all before it is kept in ``folder`` by ``write``. ``show``
    receives the images of each preview. An exception from ``check`` ends the sampling. ``hold`` is called before files
    are written, ``begin`` before images are drawn. ``build_trainer`` needs the same ``plan``.
    """

    def __init__(
        self,
        trainer: Trainer,
        plan: PreviewPlan,
        folder: Path,
        judge: Judge | None,
        write: Write,
        show: Show = lambda images, evaluation: None,
        check: Callable[[], None] = lambda: None,
        hold: Hold = lambda: None,
        begin: Callable[[str], None] = lambda task: None,
    ):
        self.trainer, self.plan, self.folder, self.judge = trainer, plan, folder, judge
        self.write, self.show, self.check, self.hold, self.begin = write, show, check, hold, begin
        self.evaluations: list[Evaluation] = []
        self.images: list[Image.Image] = []  # of the latest preview
        self.previewed_at: int | None = None  # step

    def resume(self) -> None:
        """Continues from the evaluations in ``folder`` up to the trainer's step, and adds a missing one.

        A step's state is saved before its preview, so a killed run may lack the last preview. Raises TrainingEnough
        when patience runs out.
        """
        step = self.trainer.step_number
        if not self.judge or not step:
            return
        if self._record.is_file():
            evaluations = read_evaluations(read_json(self._record), str(self._record))
            self.evaluations = [evaluation for evaluation in evaluations if evaluation.step <= step]
        if self._due(step):
            if all(evaluation.step != step for evaluation in self.evaluations):
                self.preview()
            self._end_without_gain()

    def __call__(self, progress: Progress) -> None:
        """Called after each step. Raises TrainingEnough when patience runs out."""
        if self._due(progress.step):
            self.preview()
            self._end_without_gain()

    def preview(self) -> None:
        """Generates, judges, keeps and shows the six ages at this step."""
        main, self.previewed_at = self.trainer.accelerator.is_main_process, self.trainer.step_number
        if main:
            self.begin("drawing the six ages")
            self.images = generate_ages(self.trainer, self.check)
        if self.judge:
            self._judge(self.judge)
        if main:
            self.show(self.images, self.evaluations[-1] if self.evaluations else None)

    def close(self) -> None:
        """Previews the last step if that is missing, and deletes files that are too large to keep."""
        if self.previewed_at != self.trainer.step_number:
            self.preview()
        main = self.trainer.accelerator.is_main_process
        if main and self.trainer.config.method == "full":  # each of these files is as large as the model
            for evaluation in self.evaluations:
                if evaluation != self.best:
                    step_file(self.folder, evaluation.step).unlink(missing_ok=True)

    @property
    def best(self) -> Evaluation | None:
        """The evaluation with the highest score."""
        return best(self.evaluations)

    def _end_without_gain(self) -> None:
        last = self.trainer.step_number == self.trainer.config.max_train_steps
        if self.judge and self.plan.patience and not last and not gained(self.evaluations, self.plan.patience):
            raise TrainingEnough

    def _due(self, step: int) -> bool:
        every = self.plan.every
        return step == self.trainer.config.max_train_steps or bool(step and every and step % every == 0)

    @property
    def _record(self) -> Path:
        return self.folder / LOOKS

    def _judge(self, judge: Judge) -> None:
        from accelerate.utils import broadcast_object_list

        main = self.trainer.accelerator.is_main_process
        evaluation = judge.evaluate(self.trainer.step_number, self.images) if main else None
        (evaluation,) = broadcast_object_list([evaluation])  # all processes must stop at the same step
        self.evaluations = [earlier for earlier in self.evaluations if earlier.step != evaluation.step] + [evaluation]
        if not main:
            return
        self.hold()  # judging takes a while
        if self.best is evaluation:
            self.write(step_file(self.folder, evaluation.step))
        with written(self._record) as temporary:
            temporary.write_text(json.dumps([asdict(evaluation) for evaluation in self.evaluations], indent=1))

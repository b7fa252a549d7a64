"""What nodes show while they work, and how Cancel reaches them."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

import comfy.model_management
import comfy.utils
from PIL import Image
from server import PromptServer
from tqdm import tqdm

from ...training.dreambooth.trainer import Progress, StopTraining, Trainer
from ...training.runs.looks import Look, look_sheet

PREVIEW_SIDE = 768  # px, of the picture on the node
STATUS_EVERY = 0.5  # s
T = TypeVar("T")


def watched(pictures: Sequence[T]) -> Iterator[T]:
    """``pictures`` one by one, with a progress bar on the node that runs. Cancel ends it before the next one."""
    bar = comfy.utils.ProgressBar(len(pictures))
    for picture in pictures:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield picture
        bar.update(1)


def tell(sentences: Sequence[str], node_id: str) -> None:
    """Shows text on a node."""
    if sentences:
        PromptServer.instance.send_progress_text("\n".join(sentences), node_id, PromptServer.instance.client_id)


def warn(node_id: str, sentences: list[str]) -> None:
    """Says on the screen, by web/identity_aging.js, what should be known before long work is done in vain."""
    for sentence in sentences:
        said = {"node_id": node_id, "sentence": sentence}
        PromptServer.instance.send_sync("identity_aging.warning", said, PromptServer.instance.client_id)


class Watch:
    """A trainer's callback: progress bar, a line of text, and Cancel; and what shows a look on the node."""

    def __init__(self, trainer: Trainer, node_id: str):
        self.trainer, self.node_id = trainer, node_id
        self.bar = comfy.utils.ProgressBar(trainer.config.max_train_steps, node_id=node_id)
        self.start, self.told = time.monotonic(), 0.0
        self.first_step: int | None = None

    def __call__(self, progress: Progress) -> None:
        """Called after each step. Raises StopTraining once Cancel was pressed."""
        self.stop_if_cancelled()
        self.bar.update_absolute(progress.step, progress.steps)
        self._tell(progress)

    def show(self, pictures: list[Image.Image], look: Look | None) -> None:
        """The six ages on the node, with what the judge saw, if there is one."""
        sheet = look_sheet(pictures, look)
        self.bar.update_absolute(self.trainer.step_number, preview=("JPEG", sheet, PREVIEW_SIDE))

    def say(self, line: str) -> None:
        """A line of text on the node."""
        tell([line], self.node_id)

    def stop_if_cancelled(self) -> None:
        """Raises StopTraining once Cancel was pressed."""
        if comfy.model_management.processing_interrupted():
            raise StopTraining

    def _tell(self, progress: Progress) -> None:
        now = time.monotonic()
        if self.first_step is None:
            self.first_step, self.start = progress.step, now
        elif now - self.told > STATUS_EVERY or progress.step == progress.steps:
            left = (now - self.start) / (progress.step - self.first_step) * (progress.steps - progress.step)
            losses = ", ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
            self.say(f"step {progress.step} of {progress.steps}, {tqdm.format_interval(left)} left\n{losses}")
            self.told = now

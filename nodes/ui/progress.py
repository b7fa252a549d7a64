"""Progress bars, status text, warnings and Cancel for running nodes."""

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

import comfy.model_management
import comfy.utils
from PIL import Image
from server import PromptServer
from tqdm import tqdm

from ...training.dreambooth.trainer import Progress, StopTraining, Trainer
from ...training.runs.evaluations import Evaluation, evaluation_sheet

PREVIEW_SIDE = 768  # px, size of the preview on the node
STATUS_EVERY = 0.5  # s
T = TypeVar("T")


def with_progress(pictures: Sequence[T]) -> Iterator[T]:
    """Iterates over ``pictures`` with a progress bar on the running node. Raises ComfyUI's interrupt on Cancel."""
    bar = comfy.utils.ProgressBar(len(pictures))
    for picture in pictures:
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield picture
        bar.update(1)


def tell(sentences: Sequence[str], node_id: str) -> None:
    """Shows text on a node while it runs, through web/node_text.js."""
    if sentences:
        _send("text", node_id, text="\n".join(sentences))


def warn(node_id: str, sentences: list[str]) -> None:
    """Shows warnings on screen, through web/identity_aging.js, before long work starts."""
    for sentence in sentences:
        _send("warning", node_id, sentence=sentence)


def _send(event: str, node_id: str, **data: str) -> None:
    """Sends an event with the id of the running prompt, by which the front end knows the graph that was queued."""
    server = PromptServer.instance
    message = {"node_id": node_id, "prompt_id": server.last_prompt_id, **data}
    server.send_sync(f"identity_aging.{event}", message, server.client_id)


def stop_if_cancelled() -> None:
    """Raises StopTraining if Cancel was pressed."""
    if comfy.model_management.processing_interrupted():
        raise StopTraining


class TrainingProgress:
    """Shows a training run on its node: progress bar, status text and previews. Stops it on Cancel."""

    def __init__(self, trainer: Trainer, node_id: str):
        self.trainer, self.node_id = trainer, node_id
        self.bar = comfy.utils.ProgressBar(trainer.config.max_train_steps, node_id=node_id)
        self.start, self.last_status = time.monotonic(), 0.0
        self.first_step: int | None = None

    def __call__(self, progress: Progress) -> None:
        """Updates the node after a step. Raises StopTraining if Cancel was pressed."""
        stop_if_cancelled()
        self.bar.update_absolute(progress.step, progress.steps)
        self._show_status(progress)

    def show(self, pictures: list[Image.Image], evaluation: Evaluation | None) -> None:
        """Shows a preview of the six ages on the node, with the judge's scores if there is a judge."""
        sheet = evaluation_sheet(pictures, evaluation)
        self.bar.update_absolute(self.trainer.step_number, preview=("JPEG", sheet, PREVIEW_SIDE))

    def _show_status(self, progress: Progress) -> None:
        now = time.monotonic()
        if self.first_step is None:
            self.first_step, self.start = progress.step, now
        elif now - self.last_status > STATUS_EVERY or progress.step == progress.steps:
            left = (now - self.start) / (progress.step - self.first_step) * (progress.steps - progress.step)
            losses = ", ".join(f"{name} {value:.3f}" for name, value in progress.losses.items())
            status = f"step {progress.step} of {progress.steps}, {tqdm.format_interval(left)} left\n{losses}"
            tell([status], self.node_id)
            self.last_status = now

"""One training session, from photos to a finished run. The command line and the node both call ``train``."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from PIL import Image

from ..config import IDENTITY_LOSSES, TrainingConfig
from ..data.dataset import RegularizationSet, SubjectSet, estimate_ages, find_faces
from ..data.doubts import age_doubts
from ..data.people import people_remarks
from ..data.quality import shared_remarks
from ..data.subject_photos import ages_remarks, captions_remarks
from ..dreambooth.reward import reward_remarks
from ..dreambooth.trainer import Callback, Trainer, TrainingEnough
from ..errors import MissingFile, TrainingFailed
from ..faces.observation import Observer
from ..files import check_room, clear_partial
from ..models.interface import TrainableModel
from ..pictures.photos import Bar, Photo, read_all
from ..pictures.repeats import signature
from .build import FaceNetworks, build_trainer, flattering_judge
from .evaluations import Evaluation, Judge, PreviewPlan, sentences
from .files import FinishedRun, RunFiles, finished, write_losses, write_run, write_subject
from .lease import Hold, leased
from .memory import memory_remarks, out_of_memory
from .previewer import Previewer
from .state import StateFile, StateIsAhead


class OutOfMemory(TrainingFailed):
    """The device ran out of memory. The steps before are saved."""


class Reporter(Protocol):
    """What the user sees of a session."""

    def say(self, *sentences: str) -> None:
        """Reports what the session found or did."""

    def warn(self, *sentences: str) -> None:
        """Reports what the user should know before a long training."""

    def begin(self, task: str) -> None:
        """Tells what happens now; it may take a while and has no progress bar."""

    def bar(self, task: str) -> Bar:
        """A progress bar over images."""

    def show(self, images: list[Image.Image], evaluation: Evaluation | None) -> None:
        """Shows a preview of the six ages."""

    def check(self) -> None:
        """Called during previews. Raises StopTraining to stop."""

    def training(self, trainer: Trainer) -> contextlib.AbstractContextManager[Callback]:
        """A callback that shows the progress of ``trainer`` and raises StopTraining to stop."""


@dataclass(frozen=True)
class Inputs:
    """The photos, the model, the settings, and the networks that read faces."""

    photos: Sequence[Photo]
    regularization: RegularizationSet | None
    open_model: Callable[[], TrainableModel]
    config: TrainingConfig
    networks: FaceNetworks
    estimates_ages: bool = False  # whether the age estimator also gives photos of unknown age an age class
    plan: PreviewPlan | None = None  # None: no previews
    tiny_vae_name: str = ""
    face_device: torch.device = torch.device("cpu")  # for reading the photos
    cpu: bool = False  # leaves a GPU alone


@dataclass(frozen=True)
class Outputs:
    """Where and how a run is written."""

    files: Callable[[Trainer], RunFiles]
    title: str  # the subject's name
    precision: torch.dtype = torch.float16
    keeps_state: bool = False  # so that a longer run can continue
    callbacks: Iterable[Callback] = ()
    on_start: Callable[[], None] = lambda: None  # called once the run's folder is leased


def train(inputs: Inputs, outputs: Outputs, reporter: Reporter) -> FinishedRun:
    """Trains a subject, resumes an interrupted run, or returns the same run if it is finished.

    Raises UserError for inputs that cannot be trained. An exception that ends the training passes through after the
    state is saved.
    """
    config, trainer = inputs.config, None
    subject = _read_subject(inputs, reporter)
    judge = Judge.of(subject, inputs.plan.observer) if inputs.plan and inputs.plan.observer else None
    reporter.begin("preparing the model")
    model = inputs.open_model()
    try:
        reporter.say(f"{model.name}: {model.family.name}, predicts {model.denoiser.prediction_type}")
        trainer = build_trainer(
            model,
            subject,
            inputs.regularization,
            config,
            inputs.networks,
            previews=inputs.plan,
            cpu=inputs.cpu,
            bar=reporter.bar("finding faces of other people"),
            say=reporter.say,
        )
        reporter.say(*_settings(inputs), *model.remarks)
        reporter.warn(*flattering_judge(config, inputs.networks, inputs.plan))
        return _run(trainer, judge, inputs, outputs, reporter)
    except torch.OutOfMemoryError as error:
        raise OutOfMemory(out_of_memory(config, trainer.step_number if trainer else 0)) from error
    finally:
        model.close()


def _read_subject(inputs: Inputs, reporter: Reporter) -> SubjectSet:
    """The photos with their faces and ages."""
    regularization = inputs.regularization
    others = regularization.photos if regularization else []
    signatures, remarks = [], []
    for image, defects in read_all([*inputs.photos, *others], reporter.bar("reading images")):
        signatures.append(signature(image))
        remarks += defects
    reporter.say(*remarks)
    reporter.warn(*shared_remarks(inputs.photos, others, signatures))
    detector = inputs.networks.detector
    assert detector
    subject = find_faces(list(inputs.photos), detector, reporter.bar("finding faces"))
    estimator = inputs.networks.estimator
    doubts = age_doubts(subject, estimator) if estimator else []
    if inputs.estimates_ages and estimator:
        subject = estimate_ages(subject, estimator)
    with_face = sum(face is not None for face in subject.faces)
    reporter.say(
        *subject.remarks,
        f"{len(subject.photos)} photos, {with_face} with a face",
        *ages_remarks(subject.photos),
        *captions_remarks(subject.photos, used=True),
        regularization.report if regularization else "No regularization set: plain fine-tuning, no prior preservation.",
    )
    reporter.warn(*doubts)
    if inputs.networks.embedder:
        embedder = inputs.networks.embedder.to(inputs.face_device)
        reporter.warn(*people_remarks(subject, Observer(detector, embedder, None, inputs.face_device)))
    return subject


def _settings(inputs: Inputs) -> list[str]:
    config, embedder, estimator = inputs.config, inputs.networks.embedder, inputs.networks.estimator
    lines = [f"{config.method}, loss {config.loss}"]
    if config.loss in IDENTITY_LOSSES and embedder:
        lines[0] += f", compared by {embedder.name}"
    if config.reward_every and embedder:
        networks = [embedder.name, *([estimator.name] if estimator and config.reward_age else [])]
        lines.append(f"reward every {config.reward_every} steps: {', '.join(networks)}")
    if inputs.networks.tiny_vae and config.reads_faces:
        lines.append(f"faces decoded by {inputs.tiny_vae_name}")
    return lines


def _run(trainer: Trainer, judge: Judge | None, inputs: Inputs, outputs: Outputs, reporter: Reporter) -> FinishedRun:
    files, accelerator = outputs.files(trainer), trainer.accelerator
    # Only the main process writes.
    lease = leased(files.folder, reporter.say) if accelerator.is_main_process else contextlib.nullcontext(lambda: None)
    with lease as hold:
        if run := finished(files, outputs.keeps_state):
            if inputs.plan and not run.previews:
                raise MissingFile(
                    f"This training is finished, but its image of the six ages is missing: {files.previews}. Restore "
                    f"it, or delete {files.subject} to train again."
                )
            reporter.say(f"{len(run.history)} steps, finished earlier", *_results(run))
            return run
        outputs.on_start()
        if files.state.is_file():
            with contextlib.suppress(StateIsAhead) if outputs.keeps_state else contextlib.nullcontext():
                reporter.say(*StateFile(trainer, files.state).resume(), f"resumed after step {trainer.step_number}")
        if accelerator.num_processes == 1:
            reporter.begin("counting memory")
            needs, advice = memory_remarks(trainer)
            reporter.say(needs)
            reporter.warn(*([advice] if advice else ()))
        previewer = _previewer(trainer, judge, inputs.plan, files.folder, outputs.title, reporter, hold)
        with reporter.training(trainer) as progress:
            run = finish(
                trainer,
                files,
                previewer,
                [*outputs.callbacks, progress],
                outputs.precision,
                outputs.keeps_state,
                hold,
                outputs.title,
            )
        reporter.say(f"{len(run.history)} steps, trained", *_results(run))
        return run


def finish(
    trainer: Trainer,
    files: RunFiles,
    previewer: Previewer | None = None,
    callbacks: Iterable[Callback] = (),
    precision: torch.dtype = torch.float16,
    keeps_state: bool = False,
    hold: Hold = lambda: None,
    title: str = "",
) -> FinishedRun:
    """Trains to the end and writes ``files``, the subject last: if it exists, so does everything else.

    Then deletes the state, unless ``keeps_state`` so that a longer run can continue from it. ``hold`` belongs to the
    folder's lease. Anything that ends the run early leaves with the state saved.
    """
    start, main = trainer.step_number, trainer.accelerator.is_main_process
    state = StateFile(trainer, files.state, hold)
    if main:
        clear_partial(files.folder)
        check_room(files.folder, _size(trainer, precision, files.state.exists()))
    try:
        if previewer:
            previewer.resume()
        trainer.run(state.save, [lambda _: hold(), *callbacks, *([previewer] if previewer else [])])
    except TrainingEnough:  # patience had already run out when the run was resumed
        pass
    finally:
        if main and trainer.history:
            hold()
            write_losses(files.losses, trainer.history)
    try:
        if previewer:
            previewer.close()
        evaluations, previews = (previewer.evaluations, previewer.images) if previewer else ([], [])
        hold()
        if main:
            write_run(trainer, files, evaluations, previews, precision, title)
    except BaseException:  # such as a full disk; the last steps need not be trained again
        state.save()
        raise
    if keeps_state:
        state.save()
    elif main:
        files.state.unlink(missing_ok=True)
    trainer.accelerator.wait_for_everyone()
    return FinishedRun(files.subject, trainer.history, previews, evaluations, start)


def _previewer(
    trainer: Trainer,
    judge: Judge | None,
    plan: PreviewPlan | None,
    folder: Path,
    title: str,
    reporter: Reporter,
    hold: Hold,
) -> Previewer | None:
    if plan is None:
        return None

    def write(path: Path) -> None:
        write_subject(trainer, path, torch.float16, title)

    return Previewer(trainer, plan, folder, judge, write, reporter.show, reporter.check, hold, reporter.begin)


def _size(trainer: Trainer, precision: torch.dtype, resumed: bool) -> int:
    """Bytes that a run adds at most: its subject, and a state beside the one it replaces, with AdamW's moments."""
    config = trainer.config
    trained = sum(weight.numel() for weight in trainer.trainable.values())
    states = 1 if resumed or config.max_train_steps <= config.checkpointing_steps else 2
    saved = trainer.model.saved_size(config.method)
    return states * trained * (4 + (2 if config.use_8bit_adam else 8)) + saved * precision.itemsize


def _results(run: FinishedRun) -> list[str]:
    return [*reward_remarks(run.history), *(sentences(run.evaluations) if run.evaluations else ())]

"""The train command: from photos to a subject in its folder."""

import contextlib
import json
import re
import shlex
import signal
from collections.abc import Generator, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from ..catalogue import EMBEDDERS, SYNTHETIC_EMBEDDERS, age_estimator_for, load_embedder
from ..config import TrainingConfig
from ..data.ages_in_names import AGES_HELP, BY_NAME, CAPTION_RULE, ESTIMATED
from ..data.dataset import RegularizationSet, read_regularization_set
from ..data.dates import BIRTH_DATE_HELP, parse_birth_date, with_birth_date
from ..data.subject_photos import captions_remarks, read_photos, with_ages
from ..dreambooth.trainer import Callback, Progress, StopTraining, Trainer
from ..errors import FileConflict, InvalidSetting, MissingInput
from ..faces.find import MTCNNDetector
from ..faces.observation import Observer
from ..files import check_replaceable, written
from ..models.stable_diffusion.checkpoint import open_model, open_tiny_vae
from ..models.subject import SAVE_PRECISIONS, subject_file
from ..options import check, option
from ..pictures.photos import Bar, Photo, left_out, save
from ..runs import session
from ..runs.build import FaceNetworks
from ..runs.evaluations import PREVIEW_EVERY, Evaluation, PreviewPlan, evaluation_sheet, sentences
from ..runs.files import FinishedRun, RunFiles, finished
from ..runs.previewer import LOOKS
from .console import progress_bar, say
from .generate import RUN_FILE, Run
from .shared import AGE_ESTIMATORS, DOWNLOAD_HELP, EMBEDDER_HELP, WEIGHTS_HELP

SHEETS = "looks"  # folder of the preview sheets
RESERVED = r"run|looks|curves|step_\d+"  # a run has other files of these names
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, a scheduler's stop, a closed terminal


@dataclass(frozen=True)
class TrainOptions:
    """Data, files and judge of a training; TrainingConfig has its settings."""

    checkpoint: Path = option(help="Stable Diffusion 1.x, 2.x or SDXL: .safetensors, .ckpt or diffusers folder")
    subject: Path = option(help="folder with 3-30 photos of one person")
    out: Path = option(help="output folder of the trained subject, such as subjects/anna", output="folder")
    regularization: Path | None = option(
        None,
        help=f"folder of age-captioned faces; the age class is {CAPTION_RULE}. Without it: plain fine-tuning without "
        "prior preservation",
    )
    photo_ages: str = option(
        BY_NAME, help=f"{AGES_HELP}; or '{ESTIMATED}': by name, and estimated by --age-estimator for the rest"
    )
    captions: bool = option(
        False, help="use the .txt beside a photo as its prompt, with the token inserted before the class word"
    )
    resume: bool = option(False, help="continue from the state saved in --out, or start if there is none")
    tiny_vae: Path | None = option(
        None, help="AutoencoderTiny (TAESD) that decodes faces for the identity loss; faster than the model's VAE"
    )
    prediction_type: str | None = option(
        None, help="what the model predicts, if its weights do not tell", choices=("epsilon", "v_prediction")
    )
    save_precision: str = option("fp16", help="number format of the subject file", choices=tuple(SAVE_PRECISIONS))
    embedder: str = option("vggface2", help=EMBEDDER_HELP, choices=EMBEDDERS)
    embedder_weights: Path | None = option(None, help=WEIGHTS_HELP)
    download: bool = option(False, help=DOWNLOAD_HELP)
    judge: str | None = option(
        None,
        help="preview the six ages during training, score them with this embedder, and keep the best step beside the "
        "last; use another embedder than the identity loss does, or the scores are too high",
        choices=EMBEDDERS,
    )
    look_every: int = option(
        PREVIEW_EVERY, help="steps between the previews of --judge; each takes as long as 20 steps", low=0
    )
    patience: int = option(
        0, help="stop when neither identity nor age improved in this many previews of --judge; 0: never", low=0
    )
    age_estimator: str | None = option(
        None,
        help=f"age estimator for --judge, --photo-ages {ESTIMATED}, --regularization-ages {ESTIMATED} and "
        f"--reward-every; a warning names photos whose stated age it contradicts: {AGE_ESTIMATORS}",
    )
    birth_date: str = option("", help=BIRTH_DATE_HELP)
    regularization_ages: str = option(
        BY_NAME,
        help=f"'{BY_NAME}': every regularization image must say its age; '{ESTIMATED}': the others are estimated by "
        "--age-estimator",
        choices=(BY_NAME, ESTIMATED),
    )

    def __post_init__(self):
        check(self)
        if not self.judge and self.patience:
            raise MissingInput("--patience counts previews of a judge: add --judge.")
        parse_birth_date(self.birth_date)
        if self.regularization_ages == ESTIMATED and not self.regularization:
            raise MissingInput(f"--regularization-ages {ESTIMATED} estimates the ages of a set: add --regularization.")
        for name in ("photo_ages", "regularization_ages"):
            if getattr(self, name) == ESTIMATED and not self.age_estimator:
                raise MissingInput(
                    f"--{name.replace('_', '-')} {ESTIMATED} needs an age estimator. Add --age-estimator: "
                    f"{AGE_ESTIMATORS}."
                )


def train(options: TrainOptions, config: TrainingConfig, callbacks: Iterable[Callback] = ()) -> int:
    """Trains a subject into the folder ``out``. Returns 130 if it was stopped, with the state saved."""
    from accelerate import PartialState

    process = PartialState()
    reporter = Console(options.out, show=process.is_main_process)
    files = _files(options.out)
    _check_estimator(options, config)
    if files.subject.exists():
        return _finished_already(files, options.resume, reporter)
    if files.state.exists() and not options.resume:
        raise FileConflict(
            f"{options.out} holds an unfinished run. Add --resume to continue it, or delete that folder first."
        )
    if not files.state.exists():
        _check_replaced(files)
    with process.local_main_process_first():  # which downloads for all
        networks, plan = _networks(options, config)
    photos, regularization = _images(options, networks, reporter)
    inputs = session.Inputs(
        photos=photos,
        regularization=regularization,
        open_model=lambda: open_model(options.checkpoint, options.prediction_type),
        config=config,
        networks=networks,
        estimates_ages=options.photo_ages == ESTIMATED,
        plan=plan,
        tiny_vae_name=str(options.tiny_vae),
    )
    outputs = session.Outputs(
        files=lambda trainer: files,
        title=files.subject.stem,
        precision=SAVE_PRECISIONS[options.save_precision],
        callbacks=callbacks,
        on_start=lambda: _write_run_file(options, process.is_main_process),
    )
    try:
        run = session.train(inputs, outputs, reporter)
    except StopTraining:
        reporter.say(
            f"Stopped after step {reporter.step}; the state is saved. Continue with the same command and --resume."
        )
        return 130
    except session.OutOfMemory as error:
        raise session.OutOfMemory(f"{error} Then repeat the command with --resume.") from error
    reporter.say(*_best(run, files), f"Saved {files.subject}. Generate images with: {_generate_command(options.out)}")
    return 0


class Console:
    """Reports a session on the console; silent unless ``show``. Preview sheets go to ``out``/looks."""

    def __init__(self, out: Path, show: bool):
        self.out, self.shows = out, show
        self.step = 0

    def say(self, *sentences: str) -> None:
        """Prints each sentence on a line of its own."""
        if self.shows:
            say(*sentences)

    warn = say

    def begin(self, task: str) -> None:
        """Prints nothing: the lines before and after it tell enough."""

    def bar(self, task: str) -> Bar:
        """A progress bar over images."""
        return progress_bar(task) if self.shows else iter

    def show(self, images: list[Image.Image], evaluation: Evaluation | None) -> None:
        """Writes the preview sheet of this step."""
        if evaluation:
            save(evaluation_sheet(images, evaluation), self.out / SHEETS / f"step_{evaluation.step}.png")

    def check(self) -> None:
        """Nothing stops a preview: the signals' handlers only set a flag."""

    @contextlib.contextmanager
    def training(self, trainer: Trainer) -> Generator[Callback, None, None]:
        """A callback that shows the progress and stops after the step in which a signal of SIGNALS arrived."""
        stopping: list[bool] = []
        numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
        before = {number: signal.signal(number, lambda *_: stopping.append(True)) for number in numbers}
        steps, self.step = trainer.config.max_train_steps, trainer.step_number
        bar = tqdm(total=steps, initial=self.step, disable=not trainer.accelerator.is_main_process, unit="step")

        def show(progress: Progress) -> None:
            self.step = progress.step
            bar.set_postfix({name: f"{value:.4f}" for name, value in progress.losses.items()}, refresh=False)
            bar.update()
            # All processes must stop at the same step, or the others wait forever.
            stop = torch.tensor(float(bool(stopping)), device=trainer.accelerator.device)
            if trainer.accelerator.reduce(stop) > 0:
                raise StopTraining

        try:
            yield show
        finally:
            bar.close()
            for number, handler in before.items():
                signal.signal(number, handler)


def _files(out: Path) -> RunFiles:
    if re.fullmatch(RESERVED, out.name, re.IGNORECASE):
        raise InvalidSetting(f"A subject cannot be called {out.name}, because a run has another file of that name.")
    return RunFiles(subject_file(out) if out.is_dir() else out / f"{out.name}.safetensors")


def _check_replaced(files: RunFiles) -> None:
    """Raises FileConflict if a new run would replace a file that this program did not write."""
    folder, previews = files.folder, files.folder / SHEETS
    check_replaceable(files.losses, files.curves, files.record, files.previews, folder / RUN_FILE, folder / LOOKS)
    check_replaceable(*folder.glob("step_*.safetensors"), *previews.glob("step_*.png"))


def _finished_already(files: RunFiles, resume: bool, reporter: Console) -> int:
    """Says so if ``resume``, so that a restarted loop of the same command ends. Raises UserError otherwise."""
    if not resume:
        raise FileConflict(
            f"{files.folder} already holds a finished subject. Choose another --out, or delete that folder first."
        )
    run = finished(files)
    reporter.say(*(_best(run, files) if run else ()), f"{files.subject} is finished; there is nothing to resume.")
    return 0


def _check_estimator(options: TrainOptions, config: TrainingConfig) -> None:
    used = options.judge or ESTIMATED in (options.photo_ages, options.regularization_ages) or _rewards_age(config)
    if options.age_estimator and not used:
        raise InvalidSetting(
            "Nothing uses --age-estimator here. It is for --judge, for --reward-every, and for images of unknown age: "
            f"--photo-ages {ESTIMATED}, --regularization-ages {ESTIMATED}."
        )


def _rewards_age(config: TrainingConfig) -> bool:
    return config.reward_every > 0 and config.reward_age > 0


def _networks(options: TrainOptions, config: TrainingConfig) -> tuple[FaceNetworks, PreviewPlan | None]:
    """The networks of the training, and those that judge it."""
    weights, download = options.embedder_weights, options.download
    needed = config.reads_faces or options.embedder in SYNTHETIC_EMBEDDERS  # the latter bring their own face detector
    embedder = load_embedder(options.embedder, weights, download) if needed else None
    judge = load_embedder(options.judge, weights, download) if options.judge else None
    estimator = None
    if options.judge or options.age_estimator or _rewards_age(config):
        estimator = age_estimator_for(options.judge or options.embedder, options.age_estimator, weights, download)
    tiny_vae = open_tiny_vae(options.tiny_vae) if options.tiny_vae else None
    detector = (embedder.detector if embedder else None) or MTCNNDetector()
    networks = FaceNetworks(detector, embedder, estimator, tiny_vae)
    if judge is None:
        return networks, None
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    observer = Observer(judge.detector or MTCNNDetector(), judge.to(device), estimator, device)
    return networks, PreviewPlan(options.look_every, observer, options.patience)


def _images(
    options: TrainOptions, networks: FaceNetworks, reporter: Console
) -> tuple[list[Photo], RegularizationSet | None]:
    """The photos, with ages and captions as the options say, and the regularization set."""
    regularization = None
    if options.regularization:
        estimator = networks.estimator if options.regularization_ages == ESTIMATED else None
        bar = reporter.bar("finding faces of unknown age")
        regularization = read_regularization_set(options.regularization, estimator, networks.detector, bar)
    photos = read_photos(options.subject, "photos of the subject")
    if options.photo_ages != ESTIMATED:
        photos = with_ages(photos, options.photo_ages)
    photos = with_birth_date(photos, options.birth_date)
    if not options.captions:
        reporter.say(*captions_remarks(photos, used=False))
        photos = [replace(photo, caption=None) for photo in photos]
    for folder in filter(None, (options.subject, options.regularization)):
        reporter.say(*left_out(folder))
    return photos, regularization


def _write_run_file(options: TrainOptions, main: bool) -> None:
    if main:
        with written(options.out / RUN_FILE) as temporary:
            temporary.write_text(json.dumps(asdict(Run(str(options.checkpoint.resolve()))), indent=2))


def _best(run: FinishedRun, files: RunFiles) -> list[str]:
    """Which step a judge found best; empty without a judge."""
    if not run.evaluations:
        return []
    return [
        *sentences(run.evaluations),
        f"The best is {run.file}; sheets in {files.folder / SHEETS}, curves in {files.curves}.",
    ]


def _generate_command(out: Path) -> str:
    return f"python -m training generate --subject {shlex.quote(str(out))} --out {shlex.quote(f'sheets/{out.name}')}"

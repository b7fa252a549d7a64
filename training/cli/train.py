"""The train command: from photos to a subject in its folder."""

import contextlib
import json
import shlex
import signal
from collections.abc import Callable, Generator, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from tqdm import tqdm

from ..catalogue import DRAWN_EMBEDDERS, EMBEDDERS, age_estimator_for, load_embedder
from ..config import IDENTITY_LOSSES, TrainingConfig
from ..data.ages_in_names import AGES_HELP, BY_NAME, CAPTION_RULE, ESTIMATED
from ..data.dataset import SubjectSet, estimate_ages, find_faces, read_regularization_set
from ..data.people import people_remarks
from ..data.subject_photos import ages_remarks, captions_remarks, read_photos, with_ages
from ..dreambooth.reward import reward_remarks
from ..dreambooth.trainer import Callback, Progress, StopTraining, Trainer
from ..errors import UserError
from ..faces.age_estimators import AgeEstimator
from ..faces.embedders import FaceEmbedder
from ..faces.find import FaceDetector, MTCNNDetector
from ..faces.observation import Observer
from ..files import written
from ..models.stable_diffusion.checkpoint import open_model, open_tiny_vae
from ..models.subject import SAVE_PRECISIONS, subject_file
from ..options import check, option
from ..pictures.photos import Bar, Photo, left_out, read_once, save
from ..runs.build import build_trainer
from ..runs.files import FinishedRun, RunFiles, finish, finished
from ..runs.lease import Hold, leased
from ..runs.looks import LOOK_EVERY, Judge, LookPlan, look_sheet, sentences
from ..runs.memory import memory_remarks, out_of_memory
from ..runs.watcher import Watcher
from .console import progress_bar, say
from .generate import RUN_FILE, Run
from .shared import AGE_ESTIMATORS, DOWNLOAD_HELP, EMBEDDER_HELP, WEIGHTS_HELP

LOOKS = "looks"  # the folder of their sheets
SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")  # Ctrl-C, a scheduler's stop, a closed terminal


@dataclass(frozen=True)
class TrainOptions:
    """Whom to train on what, and who watches; TrainingConfig has the settings of the training itself."""

    checkpoint: Path = option(help="Stable Diffusion 1.x, 2.x or SDXL: .safetensors, .ckpt or diffusers folder")
    subject: Path = option(help="folder with 3-30 photos of one person")
    out: Path = option(help="folder of the trained subject, such as subjects/anna", output="folder")
    regularization: Path | None = option(
        None,
        help=f"folder of age-captioned faces; the age class is {CAPTION_RULE}. Without it: plain fine-tuning, no prior "
        "preservation",
    )
    photo_ages: str = option(
        BY_NAME, help=f"{AGES_HELP}; or '{ESTIMATED}': and where nothing says it, as --age-estimator sees it"
    )
    captions: bool = option(
        False, help="use the .txt beside a photo as its prompt, with the token put in before the class word"
    )
    resume: bool = option(
        False, help="go on from the state saved in --out, start where there is none, or say that all is finished"
    )
    tiny_vae: Path | None = option(
        None, help="AutoencoderTiny (TAESD) that decodes faces for the identity loss: faster"
    )
    prediction_type: str | None = option(
        None, help="what the model predicts, where its weights mislead", choices=("epsilon", "v_prediction")
    )
    save_precision: str = option("fp16", help="number format of the subject file", choices=tuple(SAVE_PRECISIONS))
    embedder: str = option("vggface2", help=EMBEDDER_HELP, choices=EMBEDDERS)
    embedder_weights: Path | None = option(None, help=WEIGHTS_HELP)
    download: bool = option(False, help=DOWNLOAD_HELP)
    judge: str | None = option(
        None,
        help="draw the six ages now and then, have this embedder say how alike they are, and keep the best step beside "
        "the last; not that of the identity loss, or it flatters",
        choices=EMBEDDERS,
    )
    look_every: int = option(
        LOOK_EVERY, help="steps between the looks of --judge; one takes as long as 20 steps", low=0
    )
    patience: int = option(
        0, help="stop when neither identity nor age is better in this many looks of --judge; 0: never", low=0
    )
    age_estimator: str | None = option(
        None, help=f"judges the ages for --judge, --photo-ages {ESTIMATED} and --reward-every: {AGE_ESTIMATORS}"
    )

    def __post_init__(self):
        check(self)
        if not self.judge and self.patience:
            raise UserError("--patience is for looks while training: say who looks with --judge.")
        if self.photo_ages == ESTIMATED and not self.age_estimator:
            raise UserError(
                f"--photo-ages {ESTIMATED} needs somebody who sees ages. Add --age-estimator: {AGE_ESTIMATORS}."
            )


def train(options: TrainOptions, config: TrainingConfig, callbacks: Iterable[Callback] = ()) -> int:
    """Trains a subject into the folder ``out``, which no other process may write meanwhile."""
    from accelerate import PartialState

    if options.age_estimator and not (options.judge or options.photo_ages == ESTIMATED or _rewards_age(config)):
        raise UserError(
            "--age-estimator is for looks while training, the reward, or photos of unknown age: add --judge, "
            f"--reward-every or --photo-ages {ESTIMATED}."
        )
    if not PartialState().is_main_process:
        return _train(options, config, callbacks, lambda *_: None, lambda: None)
    with leased(options.out, say) as hold:
        return _train(options, config, callbacks, say, hold)


def _train(
    options: TrainOptions,
    config: TrainingConfig,
    callbacks: Iterable[Callback],
    tell: Callable[..., None],
    hold: Hold,
) -> int:
    from accelerate import PartialState

    out = options.out
    files = RunFiles(subject_file(out) if out.is_dir() else out / f"{out.name}.safetensors")
    processes = PartialState()
    bar_of = progress_bar if processes.is_main_process else (lambda _: iter)
    if files.subject.exists():
        return _told_finished(files, options.resume, tell)
    if files.state.exists() and not options.resume:
        raise UserError(f"{out} holds an unfinished run. Add --resume to go on with it, or delete that folder first.")
    with processes.local_main_process_first():  # which downloads for all
        needed = config.reads_faces or options.embedder in DRAWN_EMBEDDERS  # which know where faces are
        embedder = _embedder(options, options.embedder) if needed else None
        looker = _embedder(options, options.judge) if options.judge else None
        estimator = _estimator(options, config)
    detector = (embedder.detector if embedder else None) or MTCNNDetector()
    ages = read_regularization_set(options.regularization) if options.regularization else None
    photos = _photos(options)
    tell(*left_out(options.subject), *(left_out(options.regularization) if options.regularization else ()))
    tell(*read_once([*photos, *(ages.photos if ages else ())], bar_of("reading pictures")))
    faces = _subject(options, photos, detector, estimator, bar_of("finding faces"))
    people = people_remarks(faces, Observer(detector, embedder)) if embedder else []
    found = sum(face is not None for face in faces.faces)
    tell(*faces.remarks, *people, f"{len(faces.photos)} photos, {found} with a face")
    tell(ages.report if ages else "No regularization set: plain fine-tuning, without prior preservation.")
    model = open_model(options.checkpoint, options.prediction_type)
    tell(f"{model.name}: {model.family.name}, predicts {model.denoiser.prediction_type}")
    if config.loss in IDENTITY_LOSSES and embedder:
        tell(f"identity loss: {config.loss}, {embedder.name}")
    if config.reward_every and embedder:
        seen = f"{embedder.name}, {estimator.name}" if _rewards_age(config) and estimator else embedder.name
        tell(f"reward every {config.reward_every} steps: {seen}")
    tiny = open_tiny_vae(options.tiny_vae) if options.tiny_vae else None
    plan = _look_plan(options, looker, estimator) if looker else None
    trainer = build_trainer(
        model, faces, ages, config, embedder, detector, tiny, plan, estimator,
        bar=bar_of("finding other people's faces"),
    )  # fmt: skip
    trainer.title = files.subject.stem
    tell(*trainer.data.remarks)
    watcher = _watcher(trainer, plan, faces, out) if plan else None
    if files.state.exists():
        trainer.resume(files.state)
        tell(f"resumed after step {trainer.step_number}")
    if trainer.accelerator.num_processes == 1:
        tell(*filter(None, memory_remarks(trainer)))
    if trainer.remarks:
        tell(*trainer.remarks)
    if processes.is_main_process:
        with written(out / RUN_FILE) as temporary:
            temporary.write_text(json.dumps(asdict(Run(str(options.checkpoint.resolve()))), indent=2))
    try:
        with _shown(trainer) as show:
            precision = SAVE_PRECISIONS[options.save_precision]
            run = finish(trainer, files, watcher, [*callbacks, show], precision, hold=hold)
    except StopTraining:
        tell(f"Stopped after step {trainer.step_number}; the state is saved. Go on with the same command and --resume.")
        return 130
    except torch.OutOfMemoryError as error:
        raise UserError(f"{out_of_memory(config, trainer.step_number)} Go on with --resume.") from error
    tell(
        *reward_remarks(run.history),
        *_best(run, files),
        f"Saved {files.subject}. Draw it with: python -m training generate --subject {shlex.quote(str(out))} --out "
        f"{shlex.quote(f'sheets/{out.name}')}",
    )
    return 0


def _told_finished(files: RunFiles, resume: bool, tell: Callable[..., None]) -> int:
    """A restarted loop of the same command ends here. Raises UserError where nobody spoke of resuming."""
    if not resume:
        raise UserError(
            f"{files.folder} already holds a finished subject. Give another --out, or delete that folder first."
        )
    run = finished(files)
    tell(*(_best(run, files) if run else ()), f"{files.subject} is finished; there is nothing to resume.")
    return 0


def _embedder(options: TrainOptions, name: str) -> FaceEmbedder:
    return load_embedder(name, options.embedder_weights, options.download)


def _rewards_age(config: TrainingConfig) -> bool:
    return config.reward_every > 0 and config.reward_age > 0


def _estimator(options: TrainOptions, config: TrainingConfig) -> AgeEstimator | None:
    """Who sees ages: who was asked for, else who is there for the judge or the reward."""
    if not (options.judge or options.age_estimator or _rewards_age(config)):
        return None
    return age_estimator_for(
        options.judge or options.embedder, options.age_estimator, options.embedder_weights, options.download
    )


def _photos(options: TrainOptions) -> list[Photo]:
    """The photos with what is said of them, and the ages that the options list."""
    photos = read_photos(options.subject, "photos of the subject")
    return photos if options.photo_ages == ESTIMATED else with_ages(photos, options.photo_ages)


def _subject(
    options: TrainOptions, photos: list[Photo], detector: FaceDetector, estimator: AgeEstimator | None, bar: Bar
) -> SubjectSet:
    """``photos`` with their faces and, as the options say, ages as seen and captions."""
    subject = find_faces(photos, detector, bar)
    if options.photo_ages == ESTIMATED and estimator:
        subject = estimate_ages(subject, estimator)
    said = captions_remarks(subject.photos, options.captions)
    if not options.captions:
        subject = replace(subject, photos=[replace(photo, caption=None) for photo in subject.photos])
    return replace(subject, remarks=[*subject.remarks, *ages_remarks(subject.photos), *said])


def _look_plan(options: TrainOptions, embedder: FaceEmbedder, estimator: AgeEstimator | None) -> LookPlan:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    observer = Observer(embedder.detector or MTCNNDetector(), embedder.to(device), estimator, device)
    return LookPlan(options.look_every, observer, options.patience)


def _watcher(trainer: Trainer, plan: LookPlan, faces: SubjectSet, out: Path) -> Watcher:
    """Looks at the training, with a sheet of each look under ``out``."""

    def show(pictures, look) -> None:
        save(look_sheet(pictures, look), out / LOOKS / f"step_{look.step}.png")

    judge = Judge.of(faces, plan.observer) if plan.observer else None
    return Watcher(trainer, plan, out, judge, show)


@contextlib.contextmanager
def _shown(trainer: Trainer) -> Generator[Callable[[Progress], None], None, None]:
    """A callback that shows the progress and ends the run after a step in which somebody asked for it."""
    stopping: list[bool] = []
    numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda *_: stopping.append(True)) for number in numbers}
    main, steps = trainer.accelerator.is_main_process, trainer.config.max_train_steps
    bar = tqdm(total=steps, initial=trainer.step_number, disable=not main, unit="step")

    def show(progress: Progress) -> None:
        bar.set_postfix({name: f"{value:.4f}" for name, value in progress.losses.items()}, refresh=False)
        bar.update()
        # Every process must leave at the same step, or the others wait for it forever.
        asked = torch.tensor(float(bool(stopping)), device=trainer.accelerator.device)
        if trainer.accelerator.reduce(asked) > 0:
            raise StopTraining

    try:
        yield show
    finally:
        bar.close()
        for number, handler in before.items():
            signal.signal(number, handler)


def _best(run: FinishedRun, files: RunFiles) -> list[str]:
    """Which step looked best, where anybody looked."""
    if not run.looks:
        return []
    return [
        *sentences(run.looks),
        f"The best is {run.file}; sheets in {files.folder / LOOKS}, curves in {files.curves}.",
    ]

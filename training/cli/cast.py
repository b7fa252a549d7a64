"""The cast command: trains, generates and scores many subjects, one per row of a table, in a queue."""

import contextlib
import io
import os
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TextIO

from ..cast.cluster import GIB, ClusterOptions, installed, opened
from ..cast.entry import DRAWING, FAILED, FINISHED, SCORING, TRAINING, WAITING, Entry, read_entry
from ..cast.page import LOG, PAGE, REPORT, tally
from ..cast.queue import Failure, attempt, here
from ..cast.table import read_table
from ..cast.view import View
from ..catalogue import EMBEDDERS
from ..config import MAX_SEED, TrainingConfig
from ..data.ages_in_names import BY_NAME, ESTIMATED
from ..dreambooth.trainer import Progress
from ..errors import MissingInput, RunMismatch, UserError
from ..models.stable_diffusion.sampler import PRESETS
from ..options import Option, check, option, options_of
from ..records import read_json
from ..runs.files import RunFiles, finished
from .console import quiet, say
from .generate import GenerateOptions, generate
from .score import ScoreOptions, score
from .shared import AGE_ESTIMATORS, EMBEDDER_HELP
from .train import TrainOptions, train

# Options of train that are not its columns: the cast sets the first two, and EvaluationOptions has the third.
EXCLUDED = ("out", "resume", "age_estimator")


@dataclass(frozen=True)
class CastOptions:
    """The table of subjects and the output folder."""

    table: Path = option(
        help="one row per subject (.csv, .toml or .json): its name, and any option below; a cell overrides the option",
        positional=True,
    )
    out: Path = option(help="output folder: one sub-folder per subject, plus summary table and page", output="folder")


@dataclass(frozen=True)
class EvaluationOptions:
    """How each subject is generated and scored."""

    draw_seed: int = option(0, help="seed of the starting noise, which all ages share", low=0, high=MAX_SEED)
    preset: str = option("fast", help="sampler, see generate --help", choices=tuple(PRESETS))
    num_inference_steps: int | None = option(None, help="sampling steps; overrides the preset", low=1, high=1000)
    matcher: str | None = option(
        None, help=f"matcher that scores the images, a {EMBEDDER_HELP}; by default as in score", choices=EMBEDDERS
    )
    age_estimator: str | None = option(None, help=f"age estimator that judges the ages: {AGE_ESTIMATORS}")
    photo_age: int | None = option(None, help="the subject's age in the photos, in years", low=0, high=100)
    impostors: Path | None = option(None, help="folder with photos of other people, needed for error rates")

    def __post_init__(self):
        check(self)


def _columns() -> tuple[Option, ...]:
    training = (*options_of(TrainOptions), *options_of(TrainingConfig))
    return (*(column for column in training if column.name not in EXCLUDED), *options_of(EvaluationOptions))


COLUMNS = _columns()


@dataclass(frozen=True)
class Job:
    """One subject, with the options of each command."""

    train: TrainOptions
    config: TrainingConfig
    evaluation: EvaluationOptions
    options: dict[str, Any]  # the given options that change the result: all except paths

    @property
    def folder(self) -> Path:
        """The subject's output folder."""
        return self.train.out


def cast(options: CastOptions, cluster: ClusterOptions, given: Mapping[str, Any]) -> int:
    """Trains, generates and scores every unfinished row of the table.

    ``given`` has the command line's options, which apply to all rows. Returns 0 if every row is finished, 1 if not, and
    130 after Ctrl-C.
    """
    rows = read_table(options.table, COLUMNS)
    jobs = {name: _job(options.out.resolve() / name, {**given, **row}) for name, row in rows.items()}
    entries = {name: read_entry(job.folder) for name, job in jobs.items()}
    todo = {name: job for name, job in jobs.items() if not _done(entries[name], job)}
    folders = [job.folder for job in jobs.values()]
    try:
        with opened(cluster, installed(), _memory(todo)) as queue:
            for name in todo:
                if entries[name].state == FAILED:
                    entries[name].save(state=WAITING, sentence="")
            with View(options.out.resolve(), folders), contextlib.closing(queue(work, todo)) as results:
                for name, result in results:
                    if isinstance(result, Failure):
                        read_entry(jobs[name].folder).save(state=FAILED, sentence=result.sentence)
    except KeyboardInterrupt:
        say(f"Stopped; all states are saved. {tally(list(map(read_entry, folders)))} Repeat the command to continue.")
        return 130
    ended = list(map(read_entry, folders))
    say(f"{tally(ended)} See {options.out / PAGE}.")
    return 0 if all(entry.state == FINISHED for entry in ended) else 1


def work(job: Job) -> Failure | None:
    """Trains, generates and scores one subject. May run on another machine of the cluster."""
    quiet()
    with _logged(job.folder / LOG):
        return attempt(_act, job)


def _act(job: Job) -> None:
    entry, start, folder = read_entry(job.folder), time.monotonic(), job.folder
    before = entry.seconds

    def seconds() -> float:
        return before + time.monotonic() - start

    def show(progress: Progress) -> None:
        entry.progress(progress.step, seconds())

    steps = job.config.max_train_steps
    entry.save(state=TRAINING, starts=entry.starts + 1, node=here(), pid=os.getpid(), steps=steps, sentence="")
    if train(job.train, job.config, [show]):
        entry.save(state=WAITING)
        raise KeyboardInterrupt  # training was stopped by a signal
    entry.save(state=DRAWING, step=steps, seconds=seconds())
    run = finished(RunFiles(folder / f"{folder.name}.safetensors"))
    evaluation, pictures = job.evaluation, folder / "ages"
    generate(
        GenerateOptions(
            run.file if run else folder,
            pictures,
            seed=evaluation.draw_seed,
            checkpoint=job.train.checkpoint,
            preset=evaluation.preset,
            num_inference_steps=evaluation.num_inference_steps,
        )
    )
    entry.save(state=SCORING, seconds=seconds())
    numbers = folder / "report.json"
    score(
        ScoreOptions(
            reference=job.train.subject,
            images=pictures,
            impostors=evaluation.impostors,
            photo_age=evaluation.photo_age,
            photo_ages=BY_NAME if job.train.photo_ages == ESTIMATED else job.train.photo_ages,
            birth_date=job.train.birth_date,
            age_estimator=evaluation.age_estimator,
            embedder=evaluation.matcher,
            trained_with=job.train.embedder if job.config.reads_faces else None,
            embedder_weights=job.train.embedder_weights,
            download=job.train.download,
            report=(numbers, folder / REPORT),
        )
    )
    summary = _summary(read_json(numbers))
    entry.save(state=FINISHED, seconds=seconds(), options=job.options, summary=summary)


def _summary(report: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a report that the summary table shows."""
    points = [point for point in report["rows"][-1]["operating_points"] if point["supported"]]
    point = points[-1] if points else {"fmr": None, "fnmr": None}
    return report["summary"] | {
        "ages_right": report["ages"] and report["ages"]["drawn"]["right"],
        "fmr": point.get("target"),
        "matched": None if point["fnmr"] is None else 1 - point["fnmr"],
    }


def _job(folder: Path, values: dict[str, Any]) -> Job:
    """The job of the subject that ``folder`` is named after.

    Raises UserError with the subject's name if an option is missing or not allowed.
    """
    try:
        for column in COLUMNS:
            if column.required and column.name not in values:
                raise MissingInput(f"{column.name} is missing. Add it as a column, or give {column.flag} for all rows.")
        values = {key: value.resolve() if isinstance(value, Path) else value for key, value in values.items()}
        training: dict[str, Any] = _of(TrainOptions, values) | {"out": folder, "resume": True}
        if "judge" in values or ESTIMATED in (values.get("photo_ages"), values.get("regularization_ages")):
            training["age_estimator"] = values.get("age_estimator")
        return Job(
            TrainOptions(**training),
            TrainingConfig(**_of(TrainingConfig, values)),
            EvaluationOptions(**_of(EvaluationOptions, values)),
            {key: str(value) for key, value in values.items() if not isinstance(value, Path)},
        )
    except UserError as error:
        raise type(error)(f"{folder.name}: {error}") from error


def _of(described: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Those of ``values`` that are options of the dataclass ``described``."""
    names = {field.name for field in fields(described)} & values.keys()
    return {name: values[name] for name in names if described is EvaluationOptions or name not in EXCLUDED}


def _done(entry: Entry, job: Job) -> bool:
    """Whether the subject is finished. Raises UserError if it was finished with other options."""
    if entry.state != FINISHED:
        return False
    changed = [
        f"{key} was {entry.options.get(key, 'the default')}, now {job.options.get(key, 'the default')}"
        for key in sorted(entry.options.keys() | job.options.keys())
        if entry.options.get(key) != job.options.get(key)
    ]
    if changed:
        raise RunMismatch(
            f"{entry.name} was finished with other options ({'; '.join(changed)}). Give the row another name, or "
            f"delete {entry.folder}."
        )
    return True


def _memory(jobs: Mapping[str, Job]) -> float:
    """The most GiB that a job takes: the base model as stored, its float32 copy, and the libraries."""
    sizes = [
        sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())
        for path in {job.train.checkpoint for job in jobs.values()}
    ]
    return 3 * max(sizes, default=0) / GIB + 1


@contextlib.contextmanager
def _logged(path: Path) -> Generator[None, None, None]:
    """Appends to ``path`` whatever is printed in the block."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        log = _LogWithoutBars(file)
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield


class _LogWithoutBars(io.TextIOBase):
    """A text file that drops progress bars."""

    def __init__(self, file: TextIO):
        self._file = file

    def write(self, text: str) -> int:
        if not text.startswith(("\r", "\n\r", "\x1b")):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        self._file.flush()

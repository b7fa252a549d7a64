"""The cast command: many subjects, a row of a table each, trained, drawn and scored in a queue."""

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
from ..errors import UserError
from ..models.stable_diffusion.sampler import PRESETS
from ..options import Option, check, option, options_of
from ..records import read_json
from ..runs.files import RunFiles, finished
from .console import quiet, say
from .generate import GenerateOptions, generate
from .score import ScoreOptions, score
from .shared import AGE_ESTIMATORS, EMBEDDER_HELP
from .train import TrainOptions, train

OURS = ("out", "resume", "age_estimator")  # the cast decides the first two; drawing has the third too


@dataclass(frozen=True)
class CastOptions:
    """Who is in it."""

    table: Path = option(
        help="a row a subject (.csv, .toml or .json): its name, and any option below; a cell overrules the option",
        positional=True,
    )
    out: Path = option(help="folder for a folder a subject, the table and the page of all", output="folder")


@dataclass(frozen=True)
class LookOptions:
    """How each subject is drawn and scored."""

    draw_seed: int = option(0, help="seed of the one noise behind all ages", low=0, high=MAX_SEED)
    preset: str = option("fast", help="sampler, see generate --help", choices=tuple(PRESETS))
    num_inference_steps: int | None = option(None, help="sampling steps, instead of the preset's", low=1, high=1000)
    matcher: str | None = option(
        None, help=f"who scores; {EMBEDDER_HELP}; by default whom score takes", choices=EMBEDDERS
    )
    age_estimator: str | None = option(None, help=f"judges the ages: {AGE_ESTIMATORS}")
    photo_age: int | None = option(None, help="the subject's age in the photos, years", low=0, high=100)
    impostors: Path | None = option(None, help="folder with photos of other people, which error rates need")

    def __post_init__(self):
        check(self)


def _columns() -> tuple[Option, ...]:
    trained = (*options_of(TrainOptions), *options_of(TrainingConfig))
    return (*(one for one in trained if one.name not in OURS), *options_of(LookOptions))


COLUMNS = _columns()


@dataclass(frozen=True)
class Job:
    """One subject: what each command is told."""

    train: TrainOptions
    config: TrainingConfig
    look: LookOptions
    options: dict[str, Any]  # those that somebody gave and that change the result, wherever the files lie

    @property
    def folder(self) -> Path:
        """Where all of it goes."""
        return self.train.out


def cast(options: CastOptions, cluster: ClusterOptions, given: Mapping[str, Any]) -> int:
    """Trains, draws and scores every row of the table that is not finished yet; ``given`` holds for all rows."""
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
        say(f"Stopped, with the states saved: {tally(list(map(read_entry, folders)))} The same command goes on.")
        return 130
    ended = list(map(read_entry, folders))
    say(f"{tally(ended)} Look at {options.out / PAGE}.")
    return 0 if all(entry.state == FINISHED for entry in ended) else 1


def work(job: Job) -> Failure | None:
    """Trains, draws and scores one subject; runs wherever the queue puts it."""
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
        raise KeyboardInterrupt  # it stopped as after Ctrl-C, whoever asked for it
    entry.save(state=DRAWING, step=steps, seconds=seconds())
    run = finished(RunFiles(folder / f"{folder.name}.safetensors"))
    look, pictures = job.look, folder / "ages"
    generate(
        GenerateOptions(
            run.file if run else folder,
            pictures,
            seed=look.draw_seed,
            checkpoint=job.train.checkpoint,
            preset=look.preset,
            num_inference_steps=look.num_inference_steps,
        )
    )
    entry.save(state=SCORING, seconds=seconds())
    numbers = folder / "report.json"
    score(
        ScoreOptions(
            reference=job.train.subject,
            images=pictures,
            impostors=look.impostors,
            photo_age=look.photo_age,
            photo_ages=BY_NAME if job.train.photo_ages == ESTIMATED else job.train.photo_ages,
            age_estimator=look.age_estimator,
            embedder=look.matcher,
            trained_with=job.train.embedder if job.config.reads_faces else None,
            embedder_weights=job.train.embedder_weights,
            download=job.train.download,
            report=(numbers, folder / REPORT),
        )
    )
    summary = _summary(read_json(numbers))
    entry.save(state=FINISHED, seconds=seconds(), options=job.options, summary=summary)


def _summary(report: dict[str, Any]) -> dict[str, Any]:
    """What the cast's table shows of a report."""
    points = [point for point in report["rows"][-1]["operating_points"] if point["supported"]]
    point = points[-1] if points else {"fmr": None, "fnmr": None}
    return report["summary"] | {
        "ages_right": report["ages"] and report["ages"]["drawn"]["right"],
        "fmr": point.get("target"),
        "matched": None if point["fnmr"] is None else 1 - point["fnmr"],
    }


def _job(folder: Path, values: dict[str, Any]) -> Job:
    """Raises UserError, with the subject's name, for options that are missing or refused."""
    try:
        for known in COLUMNS:
            if known.required and known.name not in values:
                raise UserError(f"there is no {known.name}: give it a column, or {known.flag} for all.")
        values = {key: value.resolve() if isinstance(value, Path) else value for key, value in values.items()}
        training: dict[str, Any] = _of(TrainOptions, values) | {"out": folder, "resume": True}
        if "judge" in values or values.get("photo_ages") == ESTIMATED:
            training["age_estimator"] = values.get("age_estimator")
        trained = TrainOptions(**training)
        config, look = TrainingConfig(**_of(TrainingConfig, values)), LookOptions(**_of(LookOptions, values))
        kept = {key: str(value) for key, value in values.items() if not isinstance(value, Path)}
        return Job(trained, config, look, kept)
    except UserError as error:
        raise UserError(f"{folder.name}: {error}") from error


def _of(described: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    names = {one.name for one in fields(described)} & values.keys()
    return {name: values[name] for name in names if described is LookOptions or name not in OURS}


def _done(entry: Entry, job: Job) -> bool:
    """Raises UserError where it was done in another way."""
    if entry.state != FINISHED:
        return False
    changed = [
        f"{key} {entry.options.get(key, 'by default')}, now {job.options.get(key, 'by default')}"
        for key in sorted(entry.options.keys() | job.options.keys())
        if entry.options.get(key) != job.options.get(key)
    ]
    if changed:
        raise UserError(
            f"{entry.name} was finished with other options ({'; '.join(changed)}). Give the row another name, or "
            f"delete {entry.folder}."
        )
    return True


def _memory(jobs: Mapping[str, Job]) -> float:
    """GiB that an item takes at most: the base model as it is read, the same in float32, and the libraries."""
    sizes = [
        sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())
        for path in {job.train.checkpoint for job in jobs.values()}
    ]
    return 3 * max(sizes, default=0) / GIB + 1


@contextlib.contextmanager
def _logged(path: Path) -> Generator[None, None, None]:
    """What is printed inside goes to the end of ``path``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        log = _WithoutBars(file)
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            yield


class _WithoutBars(io.TextIOBase):
    """A text file that keeps no progress bars."""

    def __init__(self, file: TextIO):
        self._file = file

    def write(self, text: str) -> int:
        if not text.startswith(("\r", "\n\r", "\x1b")):
            self._file.write(text)
        return len(text)

    def flush(self) -> None:
        self._file.flush()

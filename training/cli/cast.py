"""The cast command: trains, generates and scores many subjects, one per row of a table, in a queue."""

import contextlib
import io
import os
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from ..cast.cluster import GIB, ClusterOptions, installed, opened
from ..cast.entry import (
    DRAWING,
    FAILED,
    FINISHED,
    SCORING,
    TRAINING,
    WAITING,
    Entry,
    read_again,
    read_entry,
)
from ..cast.inputs import contents
from ..cast.page import LOG, PAGE, REPORT, tally
from ..cast.queue import Failure, attempt, here
from ..cast.table import read_table
from ..cast.view import View
from ..data.ages_in_names import BY_NAME, ESTIMATED
from ..dreambooth.trainer import Progress
from ..errors import Unavailable, UserError
from ..options import option
from ..records import read_json
from ..runs.files import finished
from ..runs.lease import leased
from .cast_checks import check_out, done, entry_of
from .cast_job import COLUMNS, Job, job_of
from .console import quiet, say
from .generate import GenerateOptions, generate
from .score import ScoreOptions, score
from .train import train


@dataclass(frozen=True)
class CastOptions:
    """The table of subjects and the output folder."""

    table: Path = option(
        help="one row per subject (.csv, .toml or .json): its name, and any option below; a cell overrides the option",
        positional=True,
    )
    out: Path = option(help="output folder: one sub-folder per subject, plus summary table and page", output="folder")


def cast(options: CastOptions, cluster: ClusterOptions, given: Mapping[str, Any]) -> int:
    """Trains, generates and scores every unfinished row of the table.

    ``given`` has the command line's options, which apply to all rows. Returns 0 if every row is finished, 1 if not, and
    130 after Ctrl-C.
    """
    rows, out = read_table(options.table, COLUMNS), options.out.resolve()
    jobs = {name: job_of(out / name, {**given, **row}) for name, row in rows.items()}
    check_out(out, rows)
    with leased(out, say):
        entries = {name: entry_of(job) for name, job in jobs.items()}
        todo = {name: job for name, job in jobs.items() if not (entries[name].broken or done(entries[name], job))}
        try:
            _run(out, cluster, entries, todo)
        except KeyboardInterrupt:
            ended = [read_again(entry) for entry in entries.values()]
            say(f"Stopped; all states are saved. {tally(ended)} Repeat the command to continue.")
            return 130
    ended = [read_again(entry) for entry in entries.values()]
    say(f"{tally(ended)} See {options.out / PAGE}.")
    return 0 if all(entry.state == FINISHED for entry in ended) else 1


def _run(out: Path, cluster: ClusterOptions, entries: dict[str, Entry], todo: Mapping[str, Job]) -> None:
    """Works on the subjects ``todo`` and shows all ``entries``. What breaks one subject stops no other."""
    with opened(cluster, installed(), _memory(todo)) as queue:
        for name in todo:
            if entries[name].state == FAILED:
                _record(entries[name], WAITING, "")
        with View(out, entries), contextlib.closing(queue(work, todo)) as results:
            for name, result in results:
                if isinstance(result, Failure):
                    entry = read_again(entries[name])
                    _record(entry, FAILED, result.sentence)
                    entries[name] = entry


def _record(entry: Entry, state: str, sentence: str) -> None:
    """Saves the state of the subject; if its folder refuses, only ``entry`` knows it."""
    try:
        entry.save(state=state, sentence=sentence)
    except UserError:
        entry.broken = True


def work(job: Job) -> Failure | None:
    """Trains, generates and scores one subject. May run on another machine of the cluster."""
    quiet()
    return attempt(_in_log, job)


def _in_log(job: Job) -> Failure | None:
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
    entry.save(
        state=TRAINING,
        starts=entry.starts + 1,
        node=here(),
        pid=os.getpid(),
        steps=steps,
        sentence="",
        options=job.options,
        inputs=contents(job.paths),
    )
    if train(job.train, job.config, [show]):
        entry.save(state=WAITING)
        raise KeyboardInterrupt  # training was stopped by a signal
    entry.save(state=DRAWING, step=steps, seconds=seconds())
    run = finished(job.files)
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
    entry.save(state=FINISHED, seconds=seconds(), summary=summary)


def _summary(report: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a report that the summary table shows."""
    points = [point for point in report["rows"][-1]["operating_points"] if point["supported"]]
    point = points[-1] if points else {"fmr": None, "fnmr": None}
    return report["summary"] | {
        "ages_right": report["ages"] and report["ages"]["drawn"]["right"],
        "fmr": point.get("target"),
        "matched": None if point["fnmr"] is None else 1 - point["fnmr"],
    }


def _memory(jobs: Mapping[str, Job]) -> float:
    """The most GiB that a job takes: the base model as stored, its float32 copy, and the libraries."""
    sizes = [
        sum(file.stat().st_size for file in (path.rglob("*") if path.is_dir() else [path]) if file.is_file())
        for path in {job.train.checkpoint for job in jobs.values()}
    ]
    return 3 * max(sizes, default=0) / GIB + 1


@contextlib.contextmanager
def _logged(path: Path) -> Generator[None, None, None]:
    """Appends to ``path`` whatever is printed in the block. Raises Unavailable if the file cannot be opened."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened_log = path.open("a", encoding="utf-8")
    except OSError as error:
        raise Unavailable(f"{path} cannot be written: {error.strerror}. Move what has that name.") from error
    with opened_log as file:
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

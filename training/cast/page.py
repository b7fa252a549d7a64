"""Writes the cast as a CSV table and an HTML page; the view updates both while the cast runs."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tqdm import tqdm

from ..files import written
from ..report.text import number, percent
from .entry import FAILED, FINISHED, TRAINING, Entry

TABLE, PAGE = "cast.csv", "index.html"
SHEET, REPORT, LOG = "ages.png", "report.html", "log.txt"  # in the folder of each subject
COLUMNS = ("name", "state", "similarity", "yardstick", "ages right", "verdict", "seconds", "node", "retries")
REFRESH = 10  # s after which a browser reloads an unfinished page


def write(out: Path, entries: Sequence[Entry]) -> None:
    """Writes TABLE and PAGE into ``out``, one row per entry."""
    with written(out / TABLE) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_csv_row(entry) for entry in entries)
    with written(out / PAGE) as temporary:
        temporary.write_text(page(out, entries), encoding="utf-8")


def names_in(out: Path) -> list[str]:
    """Returns the names of the subjects in the TABLE of an earlier cast in ``out``."""
    if not (out / TABLE).is_file():
        return []
    with (out / TABLE).open(newline="", encoding="utf-8", errors="replace") as file:
        return [name for row in csv.DictReader(file) if (name := row["name"])]


def page(out: Path, entries: Sequence[Entry]) -> str:
    """Returns the HTML page; images and reports are links into the subjects' folders under ``out``."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    counts = Counter(entry.state for entry in entries)
    unfinished = len(entries) - counts[FINISHED] - counts[FAILED]
    return environment.get_template("page.html.jinja").render(
        lead=tally(entries),
        refresh=REFRESH if unfinished else None,
        rows=[_page_row(out, entry) for entry in entries],
    )


def tally(entries: Sequence[Entry]) -> str:
    """Returns the number of entries per state as one sentence."""
    counts = Counter(entry.state for entry in entries)
    others = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()) if state != FINISHED)
    return f"{counts[FINISHED]} of {len(entries)} finished" + (f", {others}." if others else ".")


def verdict(entry: Entry) -> str:
    """Returns a short verdict on a subject: why it failed, or what is wrong with its images."""
    if entry.state != FINISHED:
        return entry.sentence
    summary, remarks = entry.summary, []
    if summary["failures_to_detect"]:
        remarks.append(f"no face in {summary['failures_to_detect']} of {summary['images']}")
    if summary["memorised"]:
        remarks.append(f"{summary['memorised']} copied from a photo")
    if summary["matched"] is not None:
        remarks.append(f"{percent(summary['matched'])} match at FMR {100 * summary['fmr']:g} %")
    return "; ".join(remarks) or f"a face in each of {summary['images']} images, no copies"


def _csv_row(entry: Entry) -> list:
    summary = entry.summary
    similarities = [summary.get(key) for key in ("mean_similarity", "leave_one_out_similarity", "ages_right")]
    return [entry.name, entry.state, *similarities, verdict(entry), round(entry.seconds), entry.node, entry.retries]


def _page_row(out: Path, entry: Entry) -> dict:
    summary, finished = entry.summary, entry.state == FINISHED
    step = f", step {entry.step} of {entry.steps}" if entry.state == TRAINING else ""
    similarity, ages = summary.get("mean_similarity"), summary.get("ages_right")
    return {
        "name": entry.name,
        "state": entry.state + step,
        "failed": entry.state == FAILED,
        "sheet": _link(out, entry, SHEET) if finished else "",
        "link": _link(out, entry, REPORT if finished else LOG),
        "similarity": number(similarity) if finished else "",
        "yardstick": number(summary.get("leave_one_out_similarity")) if finished else "",
        "ages": percent(ages) if ages is not None else "",
        "verdict": verdict(entry),
        "time": tqdm.format_interval(entry.seconds) if entry.seconds else "",
        "node": entry.node,
        "retries": f"{entry.retries} retr{'y' if entry.retries == 1 else 'ies'}" if entry.retries else "",
        "order": (_missing_last(similarity), _missing_last(ages), _verdict_rank(entry), -entry.seconds),
    }


def _missing_last(value: float | None) -> float:
    """Returns the sort key of a cell: lowest values first, missing values last."""
    return 2.0 if value is None else value


def _verdict_rank(entry: Entry) -> int:
    """Returns the sort key of a verdict: failed, finished with problems, finished, unfinished."""
    if entry.state == FINISHED:
        return 1 if entry.summary["failures_to_detect"] or entry.summary["memorised"] else 2
    return 0 if entry.state == FAILED else 3


def _link(out: Path, entry: Entry, name: str) -> str:
    file = entry.folder / name
    return file.relative_to(out).as_posix() if file.is_file() else ""

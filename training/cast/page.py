"""The whole cast as a table for machines and a page for people; the view writes both anew while they run."""

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
REFRESH = 10  # s after which a browser reads an unfinished page again


def write(out: Path, entries: Sequence[Entry]) -> None:
    """Writes TABLE and PAGE into ``out``, with a row for each of ``entries``."""
    with written(out / TABLE) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_numbers(entry) for entry in entries)
    with written(out / PAGE) as temporary:
        temporary.write_text(page(out, entries), encoding="utf-8")


def page(out: Path, entries: Sequence[Entry]) -> str:
    """The page; its pictures and reports are links into the subjects' folders under ``out``."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    counts = Counter(entry.state for entry in entries)
    unfinished = len(entries) - counts[FINISHED] - counts[FAILED]
    return environment.get_template("page.html.jinja").render(
        lead=tally(entries),
        refresh=REFRESH if unfinished else None,
        rows=[_shown(out, entry) for entry in entries],
    )


def tally(entries: Sequence[Entry]) -> str:
    """How many there are of each state, in one sentence."""
    counts = Counter(entry.state for entry in entries)
    others = ", ".join(f"{count} {state}" for state, count in sorted(counts.items()) if state != FINISHED)
    return f"{counts[FINISHED]} of {len(entries)} finished" + (f", {others}." if others else ".")


def verdict(entry: Entry) -> str:
    """What is to be said of a subject in few words: why it failed, or what speaks against its pictures."""
    if entry.state != FINISHED:
        return entry.sentence
    seen, found = entry.summary, []
    if seen["failures_to_detect"]:
        found.append(f"no face in {seen['failures_to_detect']} of {seen['images']}")
    if seen["memorised"]:
        found.append(f"{seen['memorised']} copied from a photo")
    if seen["matched"] is not None:
        found.append(f"{percent(seen['matched'])} match at FMR {100 * seen['fmr']:g} %")
    return "; ".join(found) or f"a face in each of {seen['images']}, no copies"


def _numbers(entry: Entry) -> list:
    seen = entry.summary
    similarities = [seen.get(key) for key in ("mean_similarity", "leave_one_out_similarity", "ages_right")]
    return [entry.name, entry.state, *similarities, verdict(entry), round(entry.seconds), entry.node, entry.retries]


def _shown(out: Path, entry: Entry) -> dict:
    seen, finished = entry.summary, entry.state == FINISHED
    step = f", step {entry.step} of {entry.steps}" if entry.state == TRAINING else ""
    similarity, ages = seen.get("mean_similarity"), seen.get("ages_right")
    return {
        "name": entry.name,
        "state": entry.state + step,
        "failed": entry.state == FAILED,
        "sheet": _link(out, entry, SHEET) if finished else "",
        "link": _link(out, entry, REPORT if finished else LOG),
        "similarity": number(similarity) if finished else "",
        "yardstick": number(seen.get("leave_one_out_similarity")) if finished else "",
        "ages": percent(ages) if ages is not None else "",
        "verdict": verdict(entry),
        "time": tqdm.format_interval(entry.seconds) if entry.seconds else "",
        "node": entry.node,
        "retries": f"{entry.retries} retr{'y' if entry.retries == 1 else 'ies'}" if entry.retries else "",
        "order": (_last(similarity), _last(ages), _concern(entry), -entry.seconds),
    }


def _last(value: float | None) -> float:
    """By which a cell is sorted, the least first and unknown ones last."""
    return 2.0 if value is None else value


def _concern(entry: Entry) -> int:
    """By which verdicts are sorted: failed, finished with something against it, finished, unfinished."""
    seen = entry.summary
    if entry.state == FINISHED:
        return 1 if seen["failures_to_detect"] or seen["memorised"] else 2
    return 0 if entry.state == FAILED else 3


def _link(out: Path, entry: Entry, name: str) -> str:
    file = entry.folder / name
    return file.relative_to(out).as_posix() if file.is_file() else ""

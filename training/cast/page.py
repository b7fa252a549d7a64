"""The whole cast as a table for machines and a page for people, both written anew whenever somebody has ended."""

import csv
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tqdm import tqdm

from ..files import written
from ..report.text import number, percent
from .entry import FAILED, FINISHED, Entry

TABLE, PAGE = "cast.csv", "index.html"
SHEET, REPORT = "ages.png", "report.html"  # in the folder of each subject
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
    seen = entry.summary
    step = f", step {entry.step} of {entry.steps}" if entry.steps and entry.state != FINISHED else ""
    return {
        "name": entry.name,
        "state": entry.state + step,
        "failed": entry.state == FAILED,
        "sheet": _link(out, entry, SHEET),
        "report": _link(out, entry, REPORT),
        "similarity": number(seen.get("mean_similarity")),
        "yardstick": number(seen.get("leave_one_out_similarity")),
        "ages": percent(seen["ages_right"]) if seen.get("ages_right") is not None else "-",
        "verdict": verdict(entry),
        "time": tqdm.format_interval(entry.seconds),
        "node": entry.node,
        "retries": entry.retries,
    }


def _link(out: Path, entry: Entry, name: str) -> str:
    file = entry.folder / name
    return file.relative_to(out).as_posix() if entry.state == FINISHED and file.is_file() else ""

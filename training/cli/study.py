"""The study command: what each loss does, measured on drawn people."""

import json
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from ..cast.cluster import ClusterOptions, opened
from ..files import written
from ..options import check, option
from ..study import frontier, gradients, page, plan, spread, steps, trials
from .console import say


@dataclass(frozen=True)
class StudyOptions:
    """How much of it."""

    out: Path = option(Path("study"), help="folder for the table, the plots and the numbers", output="folder")
    seeds: int = option(3, help="runs of each way to train on each subject", low=1, high=len(plan.SEEDS))
    quick: bool = option(False, help="two subjects and three steps: only shows that it works")

    def __post_init__(self):
        check(self)


def study(options: StudyOptions, cluster: ClusterOptions) -> int:
    """Trains what is not measured yet, and writes the table, the plots and the numbers."""
    out, size, todo = options.out, plan.WHOLE, plan.trials(options.seeds)
    if options.quick:
        out, size, todo = out / "quick", plan.QUICK, plan.quick()
    file, looks, pulls = out / "trials.jsonl", out / "looks.jsonl", out / page.GRADIENTS
    albums, photographed = out / "spread.jsonl", len(size.watched) * len(spread.ALBUMS)
    walked, ways = out / "paths.jsonl", frontier.plan(size, 1 if options.quick else options.seeds)
    try:
        with (
            opened(cluster, local=False) as queue,
            tqdm(total=len(todo) + len(size.watched) + photographed + len(ways), unit="trial") as bar,
        ):
            trials.measure_all(todo, file, size, bar.update, queue)
            steps.watch_all(looks, size, bar.update, queue)
            spread.measure_all(albums, size, bar.update, queue)
            frontier.measure_all(ways, walked, size, bar.update, queue)
        if not pulls.is_file():
            with written(pulls) as temporary:
                temporary.write_text(json.dumps(gradients.measure(size), indent=1))
    finally:
        if rows := trials.read(file):  # a stopped study has a table of what it measured
            others = (list(trials.read(kept).values()) for kept in (looks, albums, walked))
            say(page.write(out, list(rows.values()), *others, size))
    say(f"Wrote {out / 'README.md'}, the plots beside it, and results.json.")
    return 0

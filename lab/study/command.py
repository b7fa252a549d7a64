"""The study command: measures each training method on people of the synthetic world."""

import json
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from training.cast.cluster import ClusterOptions, opened
from training.cli.console import say
from training.files import written
from training.options import check, option

from . import gradients, page, paths, plan, spread, steps, trials


@dataclass(frozen=True)
class StudyOptions:
    """Extent and output of the study."""

    out: Path = option(Path("study"), help="output folder for tables, plots and numbers", output="folder")
    seeds: int = option(3, help="runs per method and subject", low=1, high=len(plan.SEEDS))
    quick: bool = option(False, help="one subject and two steps, only to check that it works")

    def __post_init__(self):
        check(self)


def study(options: StudyOptions, cluster: ClusterOptions) -> int:
    """Runs the trials that are not saved yet, and writes tables, plots and numbers."""
    out, size, trained, tried = options.out, plan.WHOLE, plan.trials(options.seeds), plan.tried()
    if options.quick:
        out, size, trained, tried = out / "quick", plan.QUICK, plan.quick(), []
    files = {name: out / f"{name}.jsonl" for name in page.ROWS}
    albums = len(size.watched) * len(spread.ALBUMS)
    try:
        with (
            opened(cluster, local=False) as queue,
            tqdm(total=len(trained) + len(tried) + len(size.watched) + albums, unit="trial") as bar,
        ):
            paths.measure_all(trained, files["paths"], size, bar.update, queue)
            paths.measure_all(tried, files["tried"], size, bar.update, queue)
            steps.watch_all(files["looks"], size, bar.update, queue)
            spread.measure_all(files["spread"], size, bar.update, queue)
        if not (pulls := out / page.GRADIENTS).is_file():
            with written(pulls) as temporary:
                temporary.write_text(json.dumps(gradients.measure(size), indent=1))
    finally:
        rows = {name: list(trials.read(file).values()) for name, file in files.items()}
        if rows["paths"]:  # a stopped study writes the table so far
            say(page.write(out, rows, size))
    say(f"Wrote {out / 'README.md'} and the plots beside it.")
    return 0

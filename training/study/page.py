"""What the study found, in a folder: the table, the pictures and the numbers behind them."""

import json
from dataclasses import asdict
from pathlib import Path

from ..files import finite, written
from ..pictures.photos import save
from ..records import read_json
from . import frontier, gradients, spread
from .plan import MAIN, OTHERS, PARTS, WEIGHTS, Size
from .plots import change_plot, paths, trade_off
from .results import results, table
from .steps import compared, gain, steps_chosen

GRADIENTS = "gradients.json"

ABOUT = """# Does the identity loss help?

People of the drawn world whom no network has seen, trained in several ways for equally many steps ({steps}), drawn at
the six ages and judged by an embedder and an age estimator that trained nobody. Mated comparisons: every drawn picture
with each of the subject's eight photos, which show one age. Non-mated: every drawn picture with each of {others} other
people. A threshold is taken for each row, where its FMR is at most the target. Brackets: 95 % bootstrap intervals over
subjects. "Years off" is how far the estimated age lies outside the class that was asked for.

Equally many steps are no fair line: a way that only learns faster looks better here, and plain fine-tuning looks best
because it forgets everybody but the subject, which this table does not show. The
[comparison at equal age error and leakage](#at-equal-age-error-and-equal-leakage) does.

`python -m training study` made this folder and goes on where it was stopped; `trials.jsonl` holds every comparison.
"""


PULLS = """## How hard the losses pull

The gradient of each weighted identity loss over that of reconstruction and prior together, on one subject half through
a DreamBooth run, in the batches in which a face was decoded. Far below 1, or with a cosine near 1, a loss changes
little; far above 1 it drowns the others, since the whole gradient is clipped at norm 1.
"""

PARTLY = """At weight 0.1, one seed. The small decoder is trained for the study alone, in minutes: it is no TAESD, and
loses more of a face.
"""

SPREAD = """## Do photos of several ages help?

DreamBooth for {steps} steps on {people} people, each from as many photos: all at one age, or spread over three, each
photo's prompt saying its age. Mated comparisons: every drawn picture with four pictures of that person at the age asked
for, which the program draws: the truth. `spread.jsonl` holds every comparison.
"""

WATCHED = """## Does the step that a judge chose beat the last one?

DreamBooth for {steps} steps, with a look every {every}: the loss embedder, which trains nobody here, and the age
estimator judge previews from one noise. Below is what the scoring embedder says of pictures from other noises. There is
only one age estimator, so it both chooses and judges. Chosen were the steps {chosen}.

By identity x age, which the judge chooses by, the jury gives the last step {last:.3f} and the chosen one {more:+.3f}
({low:+.3f} to {high:+.3f}).
"""


FRONTIER = """## At equal age error and equal leakage

Every way gets better at likeness with its steps, and worse at ages and at drawing anybody else. So here other people
({people} so far) are trained for {steps} steps, judged on the way, and a way is held against DreamBooth where it errs
and leaks no more than DreamBooth does at its step {middle}. (Two limits at once are on the strict side: of two ways
that are alike, the one held against the other seems a tenth worse.) *Leakage* is the similarity to the subject of the
people whom the trained model draws for "photo of a child" and so on, without the token. Ages are told by a second
estimator, since the first one is in the reward. Paths begin at the untrained model. `paths.jsonl` holds every
comparison.
"""


def write(out: Path, rows: list[dict], looks: list[dict], albums: list[dict], walked: list[dict], size: Size) -> str:
    """Writes README.md, results.json and the plots into ``out``; returns the main table."""
    main = results(rows, MAIN)
    first = [row for row in rows if row["seed"] == 0]  # only the main table has other seeds
    weights, parts = (results(first, variants) for variants in (WEIGHTS, PARTS))
    shown = table(main)
    methods = "![FNMR at FMR 1 %, a line for each way to train](methods.png)\n"
    text = [ABOUT.format(steps=size.steps, others=len(OTHERS)), shown, methods]
    pictures = {"methods.png": change_plot(main)}
    if walked:
        people, found = len({row["subject"] for row in walked}), frontier.courses(walked)
        middle = size.path[(len(size.path) - 1) // 2]
        text += [FRONTIER.format(people=people, steps=size.path[-1], middle=middle), frontier.table(walked)]
        for name, what, words in (("ages.png", 1, "years off"), ("leakage.png", 2, "leakage, mean cosine")):
            pictures[name] = paths(found, list(frontier.WAYS), what, words)
            text.append(f"![FNMR over {words}, a line for each way to train]({name})\n")
    if len(weights) > 1:  # the main table has one of them
        pictures["trade-off.png"] = trade_off(results(first, MAIN), weights)
        text += ["## Identity against age, as the identity loss weighs more\n", "One seed.\n", table(weights)]
        text += ["![Mean similarity over the share of right ages, a dot for each weight](trade-off.png)\n"]
    if len(parts) > 1:
        text += ["## What the parts of the biometric loss do\n", PARTLY, table(parts)]
    if (out / GRADIENTS).is_file():
        text += [PULLS, gradients.table(read_json(out / GRADIENTS))]
    watched = compared(looks)
    if watched:
        chosen = ", ".join(map(str, sorted(steps_chosen(looks))))
        last, more = gain(looks)
        numbers = {"last": last, "more": more.value, "low": more.low, "high": more.high}
        text.append(WATCHED.format(steps=size.watched_steps, every=size.look_every, chosen=chosen, **numbers))
        text.append(table(watched, "the last step"))
    if ages := spread.table(albums):
        people = len({row["subject"] for row in albums})
        text += [SPREAD.format(steps=size.steps, people=people), ages]
    for name, picture in pictures.items():
        save(picture, out / name)
    lines = [asdict(row) for row in (*main, *weights, *parts, *watched)]
    with written(out / "results.json") as temporary:
        temporary.write_text(json.dumps(finite({"steps": size.steps, "rows": lines}), indent=1))
    with written(out / "README.md") as temporary:
        temporary.write_text("\n".join(text))
    return shown

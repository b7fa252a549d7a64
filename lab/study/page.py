"""What the study found, in a folder: the tables and the pictures."""

from pathlib import Path

from training.files import written
from training.pictures.photos import save
from training.records import read_json

from . import frontier, gradients, spread
from .plan import FIRST, OTHERS, REST, TRIED, Size
from .plots import paths
from .results import table
from .steps import compared, gain, steps_chosen

GRADIENTS = "gradients.json"
ROWS = ("paths", "tried", "looks", "spread")  # files of rows, without their ending
PLOTTED = [*FIRST, *REST[:4]]  # as many as there are colours

ABOUT = """# What keeps a person the same person?

{people} people of the drawn world whom no network has seen and on whom no setting was tried, trained in several ways
for {steps} steps, drawn at the six ages and judged by an embedder and an age estimator that trained and rewarded
nobody. Mated comparisons: every drawn picture with each of the subject's eight photos, which show one age. Non-mated:
every drawn picture with each of {others} other people. A threshold is taken for each row, where its FMR is at most 1 %.
"Years off" is how far the estimated age lies outside the class that was asked for. *Leakage* is the similarity to the
subject of the people whom the trained model draws for "photo of a child" and so on, without the token. Brackets: 95 %
bootstrap intervals over subjects.

Every way gets better at likeness with its steps, and worse at ages and at drawing anybody else. So a way is held
against DreamBooth twice: after as many steps, and at equal cost, where it errs and leaks no more than DreamBooth does
at its step {middle}, along paths that begin at the untrained model. ("nowhere": it does so on no step. Two limits at
once are on the strict side: of two ways that are alike, the one held against the other seems a tenth worse.)

The [reward](../docs/settings.md#the-reward-train-on-the-pictures-that-are-asked-for) draws 4 pictures in 4 sampling
steps after every third step of the training; the small one 2 pictures in 2.

`python -m training study` made this folder and goes on where it was stopped; `paths.jsonl` holds every comparison.
"""

BY_AGE = """## Age by age

"""

TRIED_ON = """## How the reward was chosen

On {people} other people, one seed, before anybody above was trained. Each row changes what it names; the rest is as in
the second one. `tried.jsonl` holds every comparison.
"""

PULLS = """## How hard the losses pull

The gradient of each weighted identity loss over that of reconstruction and prior together, on one subject half through
a DreamBooth run, in the batches in which a face was decoded. Far below 1, or with a cosine near 1, a loss changes
little; far above 1 it drowns the others, since the whole gradient is clipped at norm 1.
"""

SPREAD = """## Do photos of several ages help?

DreamBooth for {steps} steps on {people} people, each from as many photos: all at one age, or spread over three, each
photo's prompt saying its age. Mated comparisons: every drawn picture with four pictures of that person at the age asked
for, which the program draws: the truth. `spread.jsonl` holds every comparison.
"""

WATCHED = """## Does the step that a judge chose beat the last one?

DreamBooth for {steps} steps, with a look every {every}: the loss embedder, which trains nobody here, and the age
estimator judge previews from one noise. Below is what the scoring embedder says of pictures from other noises. The age
estimator both chooses and judges here. Chosen were the steps {chosen}.

By identity x age, which the judge chooses by, the jury gives the last step {last:.3f} and the chosen one {more:+.3f}
({low:+.3f} to {high:+.3f}).
"""


def write(out: Path, rows: dict[str, list[dict]], size: Size) -> str:
    """Writes README.md and the plots into ``out``, of ``rows`` by ROWS; returns the main table."""
    walked, tried, looks, albums = (rows[name] for name in ROWS)
    people, found = len({row["subject"] for row in walked}), frontier.courses(walked)
    middle = size.path[(len(size.path) - 1) // 2]
    shown = frontier.table(walked)
    text = [ABOUT.format(people=people, steps=size.path[-1], middle=middle, others=len(OTHERS)), shown]
    for name, what, words in (("ages.png", 1, "years off"), ("leakage.png", 2, "leakage, mean cosine")):
        save(paths(found, PLOTTED, what, words), out / name)
        text.append(f"![FNMR over {words}, a line for each way to train]({name})\n")
    text += [BY_AGE + frontier.by_age(walked)]
    if tried:
        people = len({row["subject"] for row in tried})
        text += [TRIED_ON.format(people=people), frontier.table(tried, TRIED, compared=False)]
    if (out / GRADIENTS).is_file():
        text += [PULLS, gradients.table(read_json(out / GRADIENTS))]
    if watched := compared(looks):
        chosen = ", ".join(map(str, sorted(steps_chosen(looks))))
        last, more = gain(looks)
        numbers = {"last": last, "more": more.value, "low": more.low, "high": more.high}
        text.append(WATCHED.format(steps=size.watched_steps, every=size.look_every, chosen=chosen, **numbers))
        text.append(table(watched, "the last step"))
    if ages := spread.table(albums):
        people = len({row["subject"] for row in albums})
        text += [SPREAD.format(steps=size.steps, people=people), ages]
    with written(out / "README.md") as temporary:
        temporary.write_text("\n".join(text))
    return shown

"""Writes the study's tables and plots into a folder."""

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
PLOTTED = [*FIRST, *REST[:4]]  # limited by the number of colours

ABOUT = """# What keeps a person the same person?

We trained {people} people of the synthetic world with several methods for {steps} steps and generated them at the six
ages. No network had seen these people, and no setting was tuned on them. The embedder and the age estimator that
score the images took part in no training and no reward. Mated comparisons: each generated image with each of the
subject's eight photos, which show one age. Non-mated comparisons: each generated image with each of {others} other
people. The threshold is set per row at an FMR of at most 1 %. "Years off" is the distance of the estimated age from
the age class in the prompt. *Leakage* is the similarity between the subject and images of other people: those that
the trained model generates for "photo of a child" and so on, without the token. Brackets: 95 % bootstrap intervals
over subjects.

With more steps, every method gets better at likeness, and worse at ages and at generating other people. So the table
compares each method with DreamBooth twice: after the same number of steps, and at equal cost, which means with no
more years off and leakage than DreamBooth at step {middle}, along paths that start at the untrained model. "nowhere"
means that no step meets both limits. Two limits at once are strict: a method equal to DreamBooth would seem a tenth
worse.

The biometric weights multiply the L1 distance in the 128 dimensions of the world's embedder. Today the loss scales
this distance to FaceNet's 512 dimensions, so 0.02 here is `--loss-weight 0.01`.

The [reward](../docs/settings.md#the-reward) generates 4 images with 4
sampling steps after every third training step; the small reward generates 2 images with 2 sampling steps.

`python -m lab study` wrote this folder and resumes where it stopped; `paths.jsonl` holds every comparison.
"""

BY_AGE = """## Age by age

"""

TRIED_ON = """## How the reward was chosen

On {people} other people with one seed, before the trainings above. Each row changes only the settings that it
names; the others are those of the second row. `tried.jsonl` holds every comparison.
"""

PULLS = """## How strong the losses are

The gradient of each weighted identity loss relative to the gradient of reconstruction and prior together, on one
subject halfway through a DreamBooth run, over the batches in which a face was decoded. A loss with a ratio far below
1, or a cosine near 1, changes little. One far above 1 overwhelms the others, since the whole gradient is clipped to
norm 1.
"""

SPREAD = """## Do photos of several ages help?

DreamBooth for {steps} steps on {people} people, each from the same number of photos: all at one age, or spread over
three ages, with the age in each photo's prompt. Mated comparisons: each generated image with four images of that
person rendered at the age in the prompt, the ground truth. `spread.jsonl` holds every comparison.
"""

WATCHED = """## Is the step that a judge chose better than the last?

DreamBooth for {steps} steps, with previews from one noise every {every} steps. The judge is the loss embedder, which
no training uses here, with the age estimator. The table shows the scoring embedder on images from other noises. The
age estimator is the same for choosing and for scoring. The chosen steps were {chosen}.

The judge chooses by identity x age. On the scoring images this is {last:.3f} for the last step; the chosen step
differs by {more:+.3f} ({low:+.3f} to {high:+.3f}).
"""


def write(out: Path, rows: dict[str, list[dict]], size: Size) -> str:
    """Writes README.md and the plots of ``rows``, which ROWS names, into ``out``; returns the main table."""
    walked, tried, evaluations, albums = (rows[name] for name in ROWS)
    people, courses = len({row["subject"] for row in walked}), frontier.courses(walked)
    middle = size.path[(len(size.path) - 1) // 2]
    main_table = frontier.table(walked)
    text = [ABOUT.format(people=people, steps=size.path[-1], middle=middle, others=len(OTHERS)), main_table]
    for name, column, words in (("ages.png", 1, "years off"), ("leakage.png", 2, "leakage, mean cosine")):
        save(paths(courses, PLOTTED, column, words), out / name)
        text.append(f"![FNMR over {words}, one line per training method]({name})\n")
    text += [BY_AGE + frontier.by_age(walked)]
    if tried:
        people = len({row["subject"] for row in tried})
        text += [TRIED_ON.format(people=people), frontier.table(tried, TRIED, compared=False)]
    if (out / GRADIENTS).is_file():
        text += [PULLS, gradients.table(read_json(out / GRADIENTS))]
    if watched := compared(evaluations):
        chosen = ", ".join(map(str, sorted(steps_chosen(evaluations))))
        last, more = gain(evaluations)
        numbers = {"last": last, "more": more.value, "low": more.low, "high": more.high}
        text.append(WATCHED.format(steps=size.watched_steps, every=size.look_every, chosen=chosen, **numbers))
        text.append(table(watched, "the last step"))
    if ages := spread.table(albums):
        people = len({row["subject"] for row in albums})
        text += [SPREAD.format(steps=size.steps, people=people), ages]
    with written(out / "README.md") as temporary:
        temporary.write_text("\n".join(text))
    return main_table

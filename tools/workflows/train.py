"""Graphs that train."""

from dataclasses import replace

from tools.canvas import BLUE, BROWN, GREEN, ORANGE, PURPLE, Canvas, Column, Group, Node, Row, across, down, group
from tools.workflows.parts import (
    FOR_SCORING,
    FOR_TRAINING,
    KLEIN,
    SD,
    Z_IMAGE,
    Family,
    ages_sampled,
    face_embedder,
    photos,
    sequence,
)

OTHER_FACES = (
    "Put 3 to 30 photos of one person who agreed to it into *input/photos*, and choose both folders in group 3. Faces "
    "of other people of all ages come from the graph *make_regularization_set*."
)
MORE_OR_LESS = (
    "In Train Aging Subject, raise *steps* when the pictures do not look like the person, and lower it when they copy "
    "the photos or do not age."
)
DOWNLOADS = "Where the face embedders are missing, switch *download* on in both, once."


def subject(g: Canvas) -> Column:
    return _train(
        g,
        SD,
        OTHER_FACES,
        MORE_OR_LESS + " " + DOWNLOADS,
        "SDXL: choose its checkpoint in group 1, and 1024 for *width* and *height* in group 5. Draw the faces with it "
        "too.",
    )


def klein(g: Canvas) -> Column:
    return _train(
        g,
        KLEIN,
        OTHER_FACES + " Put the loaders of group 1 there in place of its own.",
        MORE_OR_LESS + " " + DOWNLOADS,
        "A LoRA is trained on the base model as it is loaded. What comes out ages a given photo too: see "
        "*compare_roads*.",
    )


def z_image(g: Canvas) -> Column:
    return _train(
        g,
        Z_IMAGE,
        OTHER_FACES + " Put the loaders of group 1 there in place of its own.",
        MORE_OR_LESS + " " + DOWNLOADS,
        "Train on the base model. Its LoRA can be tried on the fast one too (Turbo: 8 *steps*, *cfg* 1).",
    )


def _train(g: Canvas, family: Family, *note: str) -> Column:
    loaded = family.load(g)
    mine = photos(g, "Photos of the person")
    others = g.add("IDAgingLoadRegularizationSet", "Other people of all ages", folder="ages", wide=380)
    trains = face_embedder(g, FOR_TRAINING, "The face embedder that trains")
    judges = face_embedder(g, FOR_SCORING, "Another one, that judges")
    judge = g.add("IDAgingJudgeTraining", face_embedder=judges["face_embedder"])
    train = g.add(
        "IDAgingTrainSubject", model=loaded.model, clip=loaded.clip, vae=loaded.vae, photos=mine["photos"],
        ages=others["ages"], face_embedder=trains["face_embedder"], judge=judge["judge"], photo_ages=mine["ages"],
        name=f"subject{family.suffix}", wide=400, tall=440,
    )  # fmt: skip
    ages = sequence(g, train["clip"], train["subject"])
    pictures, columns = ages_sampled(g, family, train["model"], train["clip"], loaded.vae, ages)
    save = g.add("IDAgingSaveSubject", subject=train["subject"], tall=60)
    report = g.add("PreviewAny", "Report", source=train["report"], tall=230)
    curves = g.add("PreviewImage", "Losses, and what the judge saw", images=train["curves"], wide=420, tall=330)
    return down(
        across(loaded.row(), group("Who compares faces", BLUE, [trains], [judges], [judge])),
        across(
            down(
                group("Your photos and an age set", BROWN, [mine, others]),
                g.note("What to change first", *note, tall=330),
            ),
            group("Train", PURPLE, [train]),
            down(
                group("Draw the six ages", GREEN, *columns),
                across(
                    group("Keep the subject, and see how training went", PURPLE, [save, report], [curves]),
                    look(g, pictures, ages, f"aging/first_sheet{family.suffix}", 190),
                ),
            ),
        ),
    )


def look(g: Canvas, pictures, ages: Node, prefix: str, tall: int, columns: int = 3) -> Group:
    sheet = g.add("IDAgingAgingSheet", "Side by side", images=pictures, ages=ages["ages"], columns=columns)
    saved = g.add("SaveImage", "The sheet", images=sheet["sheet"], filename_prefix=prefix, wide=380, tall=tall)
    return group("Look", ORANGE, [sheet, saved])


def try_it_here(g: Canvas) -> Row:
    """Nothing to choose: the drawn world."""
    world = g.add("IDAgingDrawnWorld", "A drawn person and a small model", wide=340, tall=280)
    embedder = face_embedder(g, "drawn-loss", "The face embedder that trains")
    train = g.add(
        "IDAgingTrainSubject", model=world["model"], clip=world["clip"], vae=world["vae"], photos=world["photos"],
        ages=world["ages"], face_embedder=embedder["face_embedder"], name="drawn", method="full", max_train_steps=100,
        resolution=64, learning_rate="2.5e-4", train_text_encoder="off", train_batch_size=4, random_flip=False,
        gradient_checkpointing=False, preview_every=25, lr_scheduler="cosine", loss="none", reward_every=3,
        reward_start=0.0, reward_pictures=4, reward_steps=4, wide=400, tall=440,
    )  # fmt: skip
    ages = sequence(g, train["clip"], train["subject"])
    small = replace(SD, side=64, never="", sampler=SD.sampler | {"cfg": 6.0})
    pictures, columns = ages_sampled(g, small, train["model"], train["clip"], world["vae"], ages, seed=9)
    judges = face_embedder(g, "drawn-score", "Another one, that scores")
    score = g.add(
        "IDAgingScoreIdentity", "How alike?", images=pictures, references=world["photos"],
        face_embedder=judges["face_embedder"], ages=ages["ages"], tall=70,
    )  # fmt: skip
    larger = g.add(
        "ImageScale", "Larger, to look at", image=pictures, upscale_method="bicubic", width=192, height=192,
        crop="disabled",
    )  # fmt: skip
    sheet = g.add(
        "IDAgingAgingSheet", "Side by side", images=larger["IMAGE"], ages=ages["ages"],
        similarities=score["similarities"], columns=3,
    )  # fmt: skip
    saved = g.add(
        "SaveImage", "The same person, from child to old", images=sheet["sheet"], filename_prefix="aging/try_it_here",
        wide=480, tall=400,
    )  # fmt: skip
    said = g.add("PreviewAny", "The scores", source=score["report"], tall=180)
    return across(
        down(
            group("Everything drawn", BLUE, [world, embedder]),
            g.note(
                "Press Run",
                "Press *Run*: there is nothing to choose and nothing to download. A person who was drawn by program is "
                "trained from eight photos, in about two minutes on two cores, and is then drawn at six ages and "
                "scored.",
                "Another *person* in group 1 is another face; another *seed* in *Draw* is another pose.",
                "With photos of your own and Stable Diffusion, go on with the graph *train_subject*.",
                wide=380,
            ),
        ),
        group("Train", PURPLE, [train]),
        down(
            group("Draw the six ages", GREEN, *columns),
            group("Compare, and look", ORANGE, [judges, score], [larger, sheet], [saved, said]),
        ),
    )

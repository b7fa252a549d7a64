"""Graphs that edit a given photo, and graphs that compare."""

from tools.canvas import BLUE, BROWN, GREEN, ORANGE, PURPLE, Canvas, Node, Output, Row, across, down, group
from tools.workflows.parts import FOR_SCORING, KLEIN, TABLE, face_embedder, klein, photos, sampled, subject

ROADS = "the edit alone, the subject alone, both"


def score_identity(g: Canvas) -> Row:
    drawn = photos(g, "Pictures to judge", "pictures")
    known = photos(g, "Photos to compare with")
    embedder = face_embedder(g, FOR_SCORING, "The face embedder that scores")
    score = g.add(
        "IDAgingScoreIdentity", "How alike?", images=drawn["photos"], references=known["photos"],
        face_embedder=embedder["face_embedder"], tall=70,
    )  # fmt: skip
    sheet = g.add("IDAgingAgingSheet", "Side by side", images=score["annotated"], columns=6)
    saved = g.add("SaveImage", "The sheet", images=sheet["sheet"], filename_prefix="aging/scored", wide=560, tall=330)
    best = g.add("PreviewImage", "The most similar picture", images=score["best"], tall=230)
    faces = g.add("IDAgingAlignFaces", "Their faces, upright", images=drawn["photos"], size=256)
    cut = g.add("PreviewImage", "What is compared", images=faces["faces"], tall=230)
    said = g.add("PreviewAny", "Report", source=score["report"], wide=TABLE, tall=200)
    note = g.note(
        "What to change first",
        "Put the pictures to judge into *input/pictures* and photos of the person into *input/photos*, and choose both "
        "folders.",
        "Score with other weights than the subject was trained with (mobilefacenet here, vggface2 for training), or "
        "the score flatters. *download* fetches what is missing, once.",
        "Read a similarity beside the photos' similarity to each other, which the report gives; pictures without a "
        "face have a red frame.",
    )
    return across(
        down(group("Pictures to judge", BLUE, [drawn]), group("Photos of the person", BROWN, [known])),
        down(group("Compare", GREEN, [embedder, score]), group("Cut out the faces", PURPLE, [faces, cut])),
        down(group("Look", ORANGE, [sheet, said], [saved], [best]), note),
    )


def _photo(g: Canvas, vae: Output) -> tuple[list[Node], Output]:
    """A photo's nodes, and its latents: the reference, and as large as what is drawn."""
    photo = g.add("LoadImage", "Your photo", image="example.png", wide=340, tall=235)
    scaled = g.add(
        "ImageScaleToTotalPixels", "To one megapixel", image=photo["IMAGE"], upscale_method="lanczos", megapixels=1.0
    )
    encoded = g.add("VAEEncode", "To latents", pixels=scaled["IMAGE"], vae=vae)
    return [photo, scaled, encoded], encoded["LATENT"]


def _of_photo(g: Canvas, conditioning: Output, latent: Output) -> Node:
    return g.add("ReferenceLatent", "Of this photo", wide=270, conditioning=conditioning, latent=latent)


def age_by_edit(g: Canvas) -> Row:
    loaded = klein(g, 380)
    given, latent = _photo(g, loaded.vae)
    lists = g.add("IDAgingEditPrompts", "What changes, what stays", candidates=2, after="randomize", wide=360)
    text = g.add("CLIPTextEncode", "Each instruction", clip=loaded.clip, text=lists["prompts"])
    positive = _of_photo(g, text["CONDITIONING"], latent)
    nothing = g.add("CLIPTextEncode", "What it should not be", clip=loaded.clip, text="")
    negative = _of_photo(g, nothing["CONDITIONING"], latent)
    sides = positive["CONDITIONING"], negative["CONDITIONING"]
    drawn = sampled(g, loaded.model, *sides, latent, loaded.vae, seed=lists["seeds"], **KLEIN.sampler)
    pictures = drawn[-1]["IMAGE"]
    known = photos(g, "Photos of the person", wide=360)
    embedder = face_embedder(g, FOR_SCORING, "The face embedder that scores")
    report = g.add(
        "IDAgingIdentityReport", images=pictures, references=known["photos"], face_embedder=embedder["face_embedder"],
        ages=lists["ages"], photo_ages=known["ages"], filename_prefix="edit",
    )  # fmt: skip
    judged = {"ages": lists["ages"], "similarities": report["similarities"]}
    every = g.add("IDAgingAgingSheet", "All candidates", images=pictures, **judged)
    pick = g.add("IDAgingPickBest", images=pictures, **judged, estimated_years=report["estimated_years"])
    best = g.add(
        "IDAgingAgingSheet", "The best of each age", images=pick["images"], ages=lists["ages"],
        similarities=pick["scores"], columns=3,
    )  # fmt: skip
    saved = g.add("SaveImage", "The best", images=best["sheet"], filename_prefix="aging/edit", wide=440, tall=330)
    rest = g.add("SaveImage", "All", images=every["sheet"], filename_prefix="aging/edit_candidates", wide=440, tall=180)
    said = g.add("PreviewAny", "Report", source=report["report"], tall=160)
    note = g.note(
        "What to change first",
        "Nothing is trained here: a model that edits pictures makes one photo older and younger. Put the photo into "
        "*Your photo*, and more photos of the person, for the score, into *input/photos*. Use photos of people who "
        "agreed to it.",
        "What each age looks like stands in *What changes, what stays*; change the words where they do not fit this "
        "person. *candidates* draws every age several times, and the best of each is kept.",
        "Another edit model needs its own loaders; the lists of prompts and seeds stay. With a subject trained on that "
        "same model, open the graph *compare_roads*.",
        tall=200,
    )
    return across(
        down(loaded.group("Choose your edit model"), group("Your photo", BROWN, given)),
        down(
            group("What changes with the age", PURPLE, [lists, text, positive]),
            group("Photos of the person", BROWN, [known]),
        ),
        down(group("Draw", GREEN, [nothing, negative, *drawn]), group("Compare", BROWN, [embedder, report])),
        down(group("Look", ORANGE, [every, pick, best, said], [saved, rest]), note),
    )


def compare_roads(g: Canvas) -> Row:
    """The edit alone, the subject alone and both, judged alike."""
    loaded = klein(g, 340)
    trained, choose = subject(g, loaded, KLEIN.suffix, 340)
    given, latent = _photo(g, loaded.vae)
    lists = g.add("IDAgingEditPrompts", "What changes, what stays", subject=trained["subject"], seed=7, after="fixed")
    anybody = g.add("StringReplace", "Without the token", string=lists["prompts"], find="sks ", replace="")
    nothing = g.add("CLIPTextEncode", "What it should not be", clip=loaded.clip, text="")
    negative = _of_photo(g, nothing["CONDITIONING"], latent)

    edit = g.add("CLIPTextEncode", "Each instruction", wide=270, clip=loaded.clip, text=anybody["STRING"])
    edited = _of_photo(g, edit["CONDITIONING"], latent)
    by_name = g.add(
        "IDAgingPromptEncode", "Each age", wide=270, clip=trained["clip"], age=lists["ages"], subject=trained["subject"]
    )
    both = g.add("CLIPTextEncode", "Each instruction", wide=270, clip=trained["clip"], text=lists["prompts"])
    named = _of_photo(g, both["CONDITIONING"], latent)

    def road(model: Output, positive: Node, against: Node) -> list[Node]:
        sides = positive.output(0), against.output(0)
        nodes = sampled(g, model, *sides, latent, loaded.vae, seed=lists["seeds"], **KLEIN.sampler)
        ages = g.add("RebatchImages", "All ages in one batch", images=nodes[-1]["IMAGE"], batch_size=64, wide=260)
        return [*nodes, ages]

    roads = [
        road(loaded.model, edited, negative),
        road(trained["model"], by_name, nothing),
        road(trained["model"], named, negative),
    ]
    first, second, third = (nodes[-1]["IMAGE"] for nodes in roads)
    two = g.add("ImageBatch", "Edit and subject", image1=first, image2=second, wide=260, tall=24)
    three = g.add("ImageBatch", "All three", image1=two["IMAGE"], image2=third, wide=260, tall=24)
    known = photos(g, "Photos of the person", wide=300)
    embedder = face_embedder(g, FOR_SCORING, "The face embedder that scores")
    judged = {"images": three["IMAGE"], "ages": lists["ages"], "face_embedder": embedder["face_embedder"]}
    report = g.add(
        "IDAgingIdentityReport", references=known["photos"], photo_ages=known["ages"], filename_prefix="roads", **judged
    )
    sheet = g.add("IDAgingAgingSheet", "A row for each road", similarities=report["similarities"], rows=ROADS, **judged)
    saved = g.add("SaveImage", "The sheet", images=sheet["sheet"], filename_prefix="aging/roads", wide=340, tall=330)
    said = g.add("PreviewAny", "Report", source=report["report"], tall=230)
    note = g.note(
        "What to change first",
        "Which road keeps this person best? Choose in group 2 a subject that the graph *train_klein* has saved, in "
        "group 3 one photo to age, and in group 9 others to compare with. *Without the token* takes the subject's "
        "token and a space out of the instructions.",
        "Each road has a row on the sheet: the photo edited by the model as it is, the trained person drawn without "
        "the photo, and the photo edited by the model that knows the person. Every age has the same noise in all "
        "three.",
        "The mean beside a row's name says how alike its pictures are to the photos. Another *seed* is another try: "
        "one sheet decides little.",
        tall=190,
    )
    lanes = zip(
        ("The edit alone", "The subject alone", "Both"), ([edit, edited], [by_name], [both, named]), roads, strict=True
    )
    return across(
        down(loaded.group(), choose, group("Your photo", BROWN, given[:1])),
        down(
            group("The photo as a reference", BROWN, given[1:]),
            group("What changes with the age", PURPLE, [lists, anybody, nothing, negative]),
        ),
        down(*(group(title, GREEN, prompts, nodes[:1], nodes[1:]) for title, prompts, nodes in lanes), note),
        group("Compare with the photos", BROWN, [two, three, known, embedder, report]),
        group("Look", ORANGE, [sheet, saved, said]),
    )

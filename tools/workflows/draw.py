"""Graphs that draw a trained subject, or faces for an age set."""

from tools.canvas import BLUE, BROWN, GREEN, ORANGE, PURPLE, Canvas, Row, across, down, group
from tools.workflows.parts import (
    FOR_SCORING,
    NO_PICTURE,
    SD,
    TABLE,
    ages_sampled,
    face_embedder,
    photos,
    sequence,
    stable_diffusion,
    subject,
)

CHOOSE = (
    "Choose in group 2 a subject that the graph *train_subject* has saved, and in group 1 the model it was trained on."
)


def aging_sequence(g: Canvas) -> Row:
    loaded = stable_diffusion(g)
    trained, choose = subject(g, loaded)
    ages = sequence(g, trained["clip"], trained["subject"])
    pictures, columns = ages_sampled(g, SD, trained["model"], trained["clip"], loaded.vae, ages)
    known, embedder = (
        photos(g, "Photos to compare with"),
        face_embedder(g, FOR_SCORING, "The face embedder that scores"),
    )
    score = g.add(
        "IDAgingScoreIdentity", "How alike?", images=pictures, references=known["photos"],
        face_embedder=embedder["face_embedder"], ages=ages["ages"], tall=70,
    )  # fmt: skip
    sheet = g.add(
        "IDAgingAgingSheet", "Side by side", images=pictures, ages=ages["ages"], similarities=score["similarities"],
        face_embedder=embedder["face_embedder"], columns=3,
    )  # fmt: skip
    saved = g.add("SaveImage", "The sheet", images=sheet["sheet"], filename_prefix="aging/sequence", wide=400, tall=330)
    said = g.add("PreviewAny", "Report", source=score["report"], wide=TABLE, tall=330)
    note = g.note(
        "What to change first",
        CHOOSE,
        "Change the *seed* in *Draw* for another pose and light: all six ages grow from one noise, so that they differ "
        "by the age alone.",
        "In *The six ages*, *extra* adds a place or clothes to every picture; *from age* 8, *to age* 75 and *steps* 9 "
        "draw years instead of the six ages.",
    )
    return across(
        down(loaded.group(), choose, note),
        down(
            group("Draw the six ages", GREEN, *columns),
            group("Compare with the photos", BROWN, [known], [embedder, score], [said]),
        ),
        group("Look", ORANGE, [sheet, saved]),
    )


def aging_video(g: Canvas) -> Row:
    loaded = stable_diffusion(g)
    trained, choose = subject(g, loaded)
    ages = sequence(g, trained["clip"], trained["subject"], "48 steps from child to old", steps=48)
    pictures, columns = ages_sampled(g, SD, trained["model"], trained["clip"], loaded.vae, ages)
    video = g.add("CreateVideo", "Into a video", images=pictures, fps=12.0, tall=30)
    film = g.add("SaveVideo", "The video", video=video["VIDEO"], filename_prefix="aging/video", wide=420, tall=230)
    sheet = g.add("IDAgingAgingSheet", "Side by side", images=pictures, ages=ages["ages"], columns=12)
    saved = g.add(
        "SaveImage", "The sheet", images=sheet["sheet"], filename_prefix="aging/video_sheet", wide=420, tall=250
    )
    note = g.note(
        "What to change first",
        CHOOSE,
        "Change *steps* in group 3 for a longer or a shorter video; 48 pictures at 12 a second (*fps*) last four "
        "seconds.",
        "If memory runs out, lower *steps*, or *width* and *height* in group 3.",
    )
    return across(
        down(loaded.group(), choose, note),
        group("Draw 48 steps from child to old", GREEN, *columns),
        down(
            group("Make the video", PURPLE, [video, film]),
            group("All its pictures on one sheet", ORANGE, [sheet, saved]),
        ),
    )


def age_existing_photo(g: Canvas) -> Row:
    loaded = stable_diffusion(g)
    trained, choose = subject(g, loaded)
    photo = g.add("LoadImage", "Your photo", image="example.png", wide=380, tall=235)
    scaled = g.add(
        "ImageScale", "To the model's size", image=photo["IMAGE"], upscale_method="lanczos", width=512, height=0,
        crop="disabled",
    )  # fmt: skip
    encoded = g.add("VAEEncode", "To latents", pixels=scaled["IMAGE"], vae=loaded.vae)
    shown = g.add("PrimitiveString", "What else the photo shows", value="")

    person = {"clip": trained["clip"], "subject": trained["subject"], "extra": shown["STRING"]}
    now = g.add("IDAgingPromptEncode", "How old in the photo?", age="youngadults", **person, wide=340)
    levels = g.add("BasicScheduler", "How far back", model=trained["model"], scheduler="normal", steps=25, denoise=0.8)
    back = g.add("FlipSigmas", "Backwards", sigmas=levels["SIGMAS"])
    sampler = g.add("KSamplerSelect", "Sampler", sampler_name="euler")
    steps = {
        "model": trained["model"],
        "sampler": sampler["SAMPLER"],
        "add_noise": False,
        "noise_seed": 0,
        "after": "fixed",
    }
    noise = g.add(
        "SamplerCustom", "From the photo to its noise", positive=now["conditioning"], negative=now["conditioning"],
        sigmas=back["SIGMAS"], latent_image=encoded["LATENT"], cfg=1.0, **steps,
    )  # fmt: skip

    ages = g.add("IDAgingSequenceEncode", "The six ages", **person, wide=340)
    negative = g.add("CLIPTextEncode", "What no picture should be", clip=trained["clip"], text=NO_PICTURE)
    each = g.add("RepeatLatentBatch", "The same noise for every age", samples=noise["output"], amount=ages["count"])
    drawn = g.add(
        "SamplerCustom", "From the noise to six ages", positive=ages["conditioning"], negative=negative["CONDITIONING"],
        sigmas=levels["SIGMAS"], latent_image=each["LATENT"], cfg=6.0, **steps,
    )  # fmt: skip
    pictures = g.add("VAEDecode", "To pictures", samples=drawn["output"], vae=loaded.vae)

    embedder = face_embedder(g, FOR_SCORING, "The face embedder that scores")
    score = g.add(
        "IDAgingScoreIdentity", "How alike?", images=pictures["IMAGE"], references=photo["IMAGE"],
        face_embedder=embedder["face_embedder"], ages=ages["ages"], tall=70,
    )  # fmt: skip
    sheet = g.add("IDAgingAgingSheet", "Side by side", images=pictures["IMAGE"], ages=ages["ages"],
                  similarities=score["similarities"], columns=3)  # fmt: skip
    saved = g.add("SaveImage", "The sheet", images=sheet["sheet"], filename_prefix="aging/photo", wide=440, tall=400)
    said = g.add("PreviewAny", "Report", source=score["report"], wide=TABLE, tall=190)
    note = g.note(
        "What to change first",
        "Choose in group 2 the trained subject, and in group 3 one photo of the same person. In group 4, say how old "
        "the person is in it.",
        "Raise *denoise* in *How far back* for more age, and lower it to keep more of the photo; 0.7 to 0.9 keeps pose "
        "and background.",
        "Describe the photo in *What else the photo shows* (glasses, a blue shirt, a garden), so that this stays too.",
        tall=180,
    )
    return across(
        down(loaded.group(), choose, group("Your photo", BROWN, [photo, shown, scaled, encoded])),
        down(
            group("How old in it, and how far back", PURPLE, [now, levels, back, sampler]),
            group("What to draw", PURPLE, [ages, negative]),
        ),
        down(
            group("Back to the noise behind it", BLUE, [noise]),
            group("Draw it at six ages", GREEN, [each, drawn, pictures]),
        ),
        down(group("Compare with the photo", BROWN, [embedder, score, said]), note),
        group("Look", ORANGE, [sheet, saved]),
    )


def make_regularization_set(g: Canvas) -> Row:
    loaded = stable_diffusion(g)
    ages = sequence(g, loaded.clip, template="photo of a {age}", extra="close-up of the face, looking at the camera")
    negative = g.add(
        "CLIPTextEncode", "What no picture should be", clip=loaded.clip, text=f"{NO_PICTURE}, several people"
    )
    latents = g.add("EmptyLatentImage", "One picture of each age", width=512, height=512, batch_size=ages["count"])
    drawn = g.add(
        "KSampler", "Draw", model=loaded.model, positive=ages["conditioning"], negative=negative["CONDITIONING"],
        latent_image=latents["LATENT"], seed=7, after="randomize", steps=25, cfg=7.5, sampler_name="dpmpp_2m",
        scheduler="karras",
    )  # fmt: skip
    decoded = g.add("VAEDecode", "To pictures", samples=drawn["LATENT"], vae=loaded.vae)
    single = g.add("RebatchImages", "One by one", images=decoded["IMAGE"], batch_size=1)
    names = g.add("StringConcatenate", "File names with the ages", string_a="ages/", string_b=ages["ages"])
    saved = g.add("SaveImage", "The faces", images=single["IMAGE"], filename_prefix=names["STRING"], wide=480, tall=420)
    note = g.note(
        "What to change first",
        "Run it twenty times (the number beside *Run*) for 20 pictures of each age; the *seed* changes by itself.",
        "Delete in *output/ages* what is no face or of a wrong age, and choose *ages [output]* in Load Age "
        "Regularization Set: it reads each age from the file's name.",
        "Draw the set with the model that the person is trained on, without a subject.",
        wide=420,
    )
    return across(
        down(loaded.group(), note),
        group("Draw a face of each age", GREEN, [ages, negative], [latents, drawn]),
        group("Save them with their ages", ORANGE, [decoded, single, names], [saved]),
    )

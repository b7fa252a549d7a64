"""What each command does, from parsed options to printed lines."""

import json
import warnings
from dataclasses import replace
from pathlib import Path

import torch
from PIL.PngImagePlugin import PngInfo

from .ages import MAX_AGE, age_words, display_name, parse_ages
from .errors import UserError
from .files import written

RUN_FILE = "run.json"  # what a trained folder says of its run


def generate(
    subject: Path,
    out: Path,
    ages: str,
    seed: int,
    checkpoint: Path | None,
    prompt: str,
    negative_prompt: str,
    preset: str,
    num_inference_steps: int | None,
    guidance_scale: float | None,
    lora_strength: float,
    resolution: int | None,
    batch_size: int,
) -> int:
    """Draws the subject: one PNG an age in the folder ``out``, and the contact sheet ``out``.png."""
    from tqdm import tqdm

    from .photos import save, to_image
    from .sampler import PRESETS, one_noise, sample
    from .sheet import contact_sheet
    from .subject import open_subject, read_subject

    wanted = parse_ages(ages)
    for flag, value, low in (("--batch-size", batch_size, 1), ("--num-inference-steps", num_inference_steps, 1)):
        if value is not None and value < low:
            raise UserError(f"{flag} is {value}; it must be at least {low}.")
    header = read_subject(subject)
    prompts = [header.prompt(age, prompt) for age in wanted]
    base = checkpoint or _recorded_checkpoint(subject)
    side = resolution or header.resolution
    if side % 8 or side < 64:
        raise UserError(f"--resolution is {side}; it must be a multiple of 8 and at least 64.")
    model, header = open_subject(subject, base, lora_strength)
    if header.method == "lora" and model.sha256 != header.base_sha256:
        warnings.warn(
            f"{base} is not the very model that the subject was trained on ({header.base_model}).", stacklevel=1
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    model.to(device, torch.bfloat16 if bf16 else torch.float32)

    settings = PRESETS[preset]
    settings = replace(
        settings,
        steps=num_inference_steps or settings.steps,
        guidance=settings.guidance if guidance_scale is None else guidance_scale,
    )
    batches = -(-len(wanted) // batch_size)
    with tqdm(total=batches * settings.steps, unit="step") as bar:
        noise = one_noise(model, side, seed)
        pixels = sample(model, prompts, noise, settings, negative_prompt, batch_size, bar.update)
    pictures = [to_image(picture) for picture in pixels]
    for picture, age, text in zip(pictures, wanted, prompts, strict=True):
        info = PngInfo()
        info.add_text("prompt", text)
        info.add_text("seed", str(seed))
        with written(out / f"{age_words(age)}.png") as temporary:
            picture.save(temporary, pnginfo=info)
    sheet = out.with_name(f"{out.name}.png")
    save(contact_sheet(pictures, [display_name(age) for age in wanted]), sheet)
    print(f"Drew {len(pictures)} ages into {out}, all from seed {seed}; contact sheet {sheet}")
    return 0


def _recorded_checkpoint(subject: Path) -> Path | None:
    run_file = (subject if subject.is_dir() else subject.parent) / RUN_FILE
    if not run_file.is_file():
        return None
    return Path(json.loads(run_file.read_text())["checkpoint"])


def score(
    reference: Path,
    images: Path,
    impostors: Path | None,
    regularization: Path | None,
    untrained: Path | None,
    photo_age: int | None,
    trained_with: str | None,
    age_estimator: str | None,
    report: list[Path] | None,
    embedder: str,
    embedder_weights: Path | None,
    download: bool,
) -> int:
    """Compares the faces in ``images`` with those in ``reference``, and both with other people's."""
    from .age_estimator import load_age_estimator
    from .comparisons import with_face
    from .dataset import read_regularization_set
    from .embedder import load_embedder, matcher_name
    from .faces import MTCNNDetector
    from .observation import Observation, observe
    from .photos import Photo, read_folder
    from .report import build
    from .report_files import SUFFIXES, write
    from .report_text import text
    from .scoring import age_of

    for path in report or ():
        if path.suffix.lower() not in SUFFIXES:
            raise UserError(f"--report {path} must end in one of {', '.join(SUFFIXES)}.")
    if photo_age is not None and not 0 <= photo_age <= MAX_AGE:
        raise UserError(f"--photo-age is {photo_age}; it must be from 0 to {MAX_AGE}.")
    photos, drawn = read_folder(reference, "reference photos"), read_folder(images, "images to score")
    before = read_folder(untrained, "pictures of the untrained model") if untrained else []
    people = read_folder(impostors, "pictures of other people") if impostors else []
    people_ages = [age_of(photo.name) for photo in people]
    if regularization:
        captioned = read_regularization_set(regularization)
        people, people_ages = people + captioned.photos, people_ages + captioned.ages
    estimator = load_age_estimator(age_estimator) if age_estimator else None
    network = load_embedder(embedder, embedder_weights, download)
    detector = network.detector or MTCNNDetector()

    def observed(pictures: list[Photo], ages: list[str | int | None]) -> list[Observation]:
        pairs = zip(pictures, ages, strict=True)
        return [observe(photo.name, photo.image(), age, detector, network, estimator) for photo, age in pairs]

    references = observed(photos, [photo_age] * len(photos))
    if not with_face(references):
        raise UserError(
            f"No face was found in any of the {len(photos)} reference photos; similarity needs at least one."
        )
    result = build(
        images=observed(drawn, [age_of(photo.name) for photo in drawn]),
        references=references,
        matcher=network.name,
        others=observed(people, people_ages),
        untrained=observed(before, [age_of(photo.name) for photo in before]),
        trained_with=trained_with and matcher_name(trained_with),
        photo_age=photo_age,
        estimator=estimator and estimator.name,
    )
    print(text(result))
    for path in report or ():
        for file in write(result, path, {photo.name: photo.image() for photo in drawn}):
            print(f"wrote {file}")
    return 0


def bench(resolution: int, steps: int) -> int:
    """Counts and times training steps."""
    from .bench import run

    print(run(resolution, steps))
    return 0


def demo(out: Path, person: int | None, steps: int) -> int:
    """Trains, draws and scores a person of the drawn world."""
    from .__main__ import main
    from .demo import run
    from .world.photos import SUBJECT

    if steps < 1:
        raise UserError(f"--steps is {steps}; it must be at least 1.")
    return run(out, SUBJECT if person is None else person, steps, main)


def world(export: Path | None, photos: Path | None, person: int | None, years: float) -> int:
    """Writes the world's base model, or a held-out subject's photos and an age set, or both."""
    if not export and not photos:
        raise UserError("Say what to write: --photos FOLDER, --export FILE.safetensors, or both.")
    if export and export.suffix != ".safetensors":
        raise UserError(f"--export {export} must end in .safetensors.")
    if photos:
        from .world.photos import SUBJECT, write_photos

        write_photos(photos, SUBJECT if person is None else person, years)
        print(f"Wrote {photos / 'photos'}, one person at {years:g} years, and {photos / 'ages'}, other people.")
    if export:
        from .world.export import export as write_checkpoint

        write_checkpoint(export)
        print(f"Wrote {export}. It draws at 64 px: train it with --resolution 64.")
    return 0


def study(out: Path, quick: bool, seeds: int) -> int:
    """Measures on the drawn world what each loss does, and writes the table, the plots and the numbers."""
    from tqdm import tqdm

    from .study import gradients, page, plan, steps, trials

    if not 1 <= seeds <= len(plan.SEEDS):
        raise UserError(f"--seeds is {seeds}; it must be from 1 to {len(plan.SEEDS)}.")
    size, todo = plan.WHOLE, plan.trials(seeds)
    if quick:
        size, todo, out = plan.QUICK, plan.quick(), out / "quick"
    file, looks, pulls = out / "trials.jsonl", out / "looks.jsonl", out / page.GRADIENTS
    try:
        with tqdm(total=len(todo) + len(size.watched), unit="trial") as bar:
            trials.run(todo, file, size, bar.update)
            steps.run(looks, size, bar.update)
        if not pulls.is_file():
            with written(pulls) as temporary:
                temporary.write_text(json.dumps(gradients.measure(size), indent=1))
    finally:
        if rows := trials.read(file):  # a stopped study has a table of what it measured
            print(page.write(out, list(rows.values()), list(trials.read(looks).values()), size))
    print(f"Wrote {out / 'README.md'}, the plots beside it, and results.json.")
    return 0

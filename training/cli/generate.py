"""The generate command: one image of the subject per age, and a contact sheet."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from ..ages import SAMPLING_PROMPT, age_words, display_name, parse_ages
from ..config import MAX_SEED
from ..errors import DamagedFile
from ..files import check_replaceable, check_writable
from ..models.interface import starting_noise
from ..models.stable_diffusion.open_subject import open_subject
from ..models.stable_diffusion.sampler import PRESETS, sample
from ..models.subject import read_subject
from ..options import check, option
from ..pictures.photos import blank, image_files, save, to_image
from ..pictures.sheet import contact_sheet
from ..records import from_json, read_json
from .console import say

NAMED = 5  # images of earlier runs that are listed by name, at most
RUN_FILE = "run.json"  # beside the subject; how it was trained


@dataclass(frozen=True)
class Run:
    """The content of RUN_FILE."""

    checkpoint: str  # absolute path


@dataclass(frozen=True)
class GenerateOptions:
    """What to generate, and with which settings."""

    subject: Path = option(help="folder or file of the trained subject")
    out: Path = option(help="folder for one image per age; the contact sheet is saved beside it", output="folder")
    ages: str = option("all", help="'all', or a comma-separated list of age classes and whole years")
    seed: int = option(0, help="seed of the starting noise, which all ages share", low=0, high=MAX_SEED)
    checkpoint: Path | None = option(None, help="base model of a LoRA subject; by default the file it was trained on")
    prompt: str = option(
        SAMPLING_PROMPT, help="prompt template with {token}, {class_word} and {age}; (words:1.2) weighs words"
    )
    negative_prompt: str = option("", help="what the images should not show")
    preset: str = option(
        "fast",
        help="fast: DPM++ 2M, 25 steps, guidance 7.5; paper: DDIM, eta 0, 100 steps, guidance 10",
        choices=tuple(PRESETS),
    )
    num_inference_steps: int | None = option(None, help="sampling steps; overrides the preset", low=1, high=1000)
    guidance_scale: float | None = option(None, help="guidance scale; overrides the preset", low=0, high=100)
    lora_strength: float = option(1.0, help="strength of a LoRA subject; 1 is as trained", low=-10, high=10)
    resolution: int | None = option(
        None, help="side of the images in px, a multiple of 8; by default as trained", low=64, high=4096, multiple=8
    )
    batch_size: int = option(2, help="images generated at once; more need more memory", low=1)

    def __post_init__(self):
        check(self)


def generate(options: GenerateOptions) -> int:
    """Writes one PNG per age into the folder ``out``, and the contact sheet ``out``.png.

    Replaces images of earlier runs, but raises FileConflict before any work for others of the same names.
    """
    sheet = options.out.with_name(f"{options.out.name}.png")
    check_writable(sheet)
    ages = parse_ages(options.ages)
    files = [options.out / f"{age_words(age)}.png" for age in ages]
    check_replaceable(*files, sheet)
    header = read_subject(options.subject)
    prompts = [header.prompt(age, options.prompt) for age in ages]
    base = options.checkpoint or _recorded_checkpoint(options.subject)
    model, header = open_subject(options.subject, base, options.lora_strength)
    if header.method == "lora" and header.base_sha256 not in (model.sha256, model.fingerprint):
        warnings.warn(
            f"{base} is not the model that the subject was trained on ({header.base_model}); images may differ.",
            stacklevel=1,
        )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    model.to(device, torch.bfloat16 if bf16 else torch.float32)

    preset = PRESETS[options.preset]
    preset = replace(
        preset,
        steps=options.num_inference_steps or preset.steps,
        guidance=preset.guidance if options.guidance_scale is None else options.guidance_scale,
    )
    batches = -(-len(ages) // options.batch_size)
    with tqdm(total=batches * preset.steps, unit="step") as bar:
        noise = starting_noise(model.codec, options.resolution or header.resolution, options.seed)
        pixels = sample(
            model.denoiser, model.codec, prompts, noise, preset, options.negative_prompt, options.batch_size, bar.update
        )
    _check_blank(pixels, ages)
    pictures = [to_image(picture) for picture in pixels]
    remarks = _earlier_images(options.out, {file.name for file in files}, sheet)
    for picture, file, text in zip(pictures, files, prompts, strict=True):
        save(picture, file, prompt=text, seed=str(options.seed))
    save(contact_sheet(pictures, [display_name(age) for age in ages]), sheet)
    say(f"Saved {len(pictures)} ages to {options.out}, all from seed {options.seed}. Contact sheet: {sheet}", *remarks)
    return 0


def _check_blank(pixels: Tensor, ages: list[str | int]) -> None:
    """Warns about images [B, 3, H, W] of a single colour. Raises UserError if all of them are."""
    flat = [display_name(age) for age, picture in zip(ages, pixels, strict=True) if blank(picture)]
    advice = "The model may be damaged; or try a lower --guidance-scale or --lora-strength."
    if len(flat) == len(ages):
        raise DamagedFile(f"Every image has a single colour, so none was saved. {advice}")
    if flat:
        warnings.warn(f"These images have a single colour: {', '.join(flat)}. {advice}", stacklevel=1)


def _earlier_images(out: Path, new: set[str], sheet: Path) -> list[str]:
    """Remarks on the images of earlier runs in ``out``: those that will be replaced, and those that will be kept."""
    present = {path.name for path in image_files(out) if path.parent == out} if out.is_dir() else set()
    replaced = sorted(present & new) + ([str(sheet)] if sheet.exists() else [])
    kept = sorted(present - new)
    remarks = [f"Replaced: {', '.join(replaced)}."] if replaced else []
    if kept:
        named = ", ".join(kept[:NAMED]) + ("..." if len(kept) > NAMED else ".")
        remarks.append(f"{out} also holds {len(kept)} earlier images, which were kept: {named}")
    return remarks


def _recorded_checkpoint(subject: Path) -> Path | None:
    run_file = (subject if subject.is_dir() else subject.parent) / RUN_FILE
    if not run_file.is_file():
        return None
    return Path(from_json(Run, read_json(run_file), str(run_file)).checkpoint)

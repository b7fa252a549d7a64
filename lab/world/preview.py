"""Writes a sheet of images from the base model in training: python -m lab.world.preview --out sheet.png."""

import argparse
from pathlib import Path

import torch
from PIL import Image

from training.ages import AGE_CLASSES, SAMPLING_PROMPT, display_name, fill_prompt
from training.models.interface import Preset, starting_noise
from training.models.stable_diffusion.checkpoint import model_from_state_dict
from training.models.stable_diffusion.sampler import sample
from training.pictures.photos import save, to_image
from training.pictures.sheet import contact_sheet
from training.world.model import checkpoint
from training.world.render.face import SIDE, draw
from training.world.render.population import HELD_OUT, some_ages
from training.world.render.traits import identities, views

from .loop import FOLDER, best_device
from .ship import learned

SHOWN = 192  # px


def sheet(folder: Path, seeds: int, guidance: float) -> Image.Image:
    """Returns a sheet: six held-out faces, the same through the autoencoder, then six generated ages per seed."""
    model = model_from_state_dict(checkpoint(learned(folder)), "preview")
    model.to(best_device(), torch.float32)
    faces = range(HELD_OUT, HELD_OUT + len(AGE_CLASSES))
    rendered = draw(identities(faces), some_ages(faces), views(faces))
    with torch.no_grad():
        latents, _ = model.codec.encode(rendered.to(best_device()))
        pictures = [rendered, model.codec.decode(latents).cpu()]
    prompts = [fill_prompt(SAMPLING_PROMPT, class_word="person", age=age).replace("  ", " ") for age in AGE_CLASSES]
    preset = Preset("DPMSolverMultistepScheduler", 25, guidance)
    pictures += [
        sample(model.denoiser, model.codec, prompts, starting_noise(model.codec, SIDE, seed), preset, batch_size=6)
        for seed in range(seeds)
    ]
    shown = [to_image(picture).resize((SHOWN, SHOWN), Image.Resampling.BICUBIC) for picture in torch.cat(pictures)]
    labels = ["drawn"] * 6 + ["autoencoder"] * 6 + [display_name(age) for age in AGE_CLASSES] * seeds
    return contact_sheet(shown, labels, len(AGE_CLASSES))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="folder of the training run")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    save(sheet(options.folder, options.seeds, options.guidance), options.out)

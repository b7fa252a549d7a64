"""The whole way on a tiny model with random weights: it shows that everything runs; its pictures are noise."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw
from safetensors.torch import save_file

from .ages import AGE_CLASSES
from .families import SD1
from .tiny import tiny_checkpoint

SIDE = 128  # px


def run(out: Path, command: Callable[[list[str]], int]) -> int:
    """Makes a model and pictures in ``out``, then trains and draws by ``command``, as a user would."""
    for folder in ("photos", "ages"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    shutil.rmtree(out / "subject", ignore_errors=True)
    save_file(tiny_checkpoint(SD1), out / "tiny.safetensors")
    for number in range(4):
        _portrait(number).save(out / "photos" / f"{number}.png")
    for number, age in enumerate(AGE_CLASSES):
        _portrait(100 + number).save(out / "ages" / f"{age}_0001.png")
    train = f"train --checkpoint {out}/tiny.safetensors --subject {out}/photos --regularization {out}/ages"
    train += f" --loss contrastive --resolution {SIDE} --max-train-steps 20 --out {out}/subject"
    generate = f"generate --subject {out}/subject --ages all --seed 7 --out {out}/sheet"
    for line in (train, generate):
        print(f"\n$ python -m training {line}", flush=True)
        if code := command(line.split()):
            return code
    print("\nThis model is random, so the pictures are noise. With a real one, the same two commands draw the person.")
    return 0


def _portrait(seed: int) -> Image.Image:
    """An oval with eyes and hair in colours of ``seed``, standing where a face would."""
    random = np.random.default_rng(seed)
    wall, skin, hair = (tuple(int(value) for value in random.integers(40, 230, 3)) for _ in range(3))
    image = Image.new("RGB", (SIDE, SIDE), wall)
    draw = ImageDraw.Draw(image)
    x, y = random.integers(-6, 7, 2) + SIDE // 2
    draw.ellipse((x - 36, y - 48, x + 36, y + 40), fill=hair)
    draw.ellipse((x - 30, y - 34, x + 30, y + 44), fill=skin)
    for side in (-12, 12):
        draw.ellipse((x + side - 4, y - 6, x + side + 4, y + 2), fill="black")
    draw.line((x - 10, y + 24, x + 10, y + 24), fill="black", width=2)
    return image

"""What the files of a diffusers folder say, in any of the variants that ``save_pretrained`` writes."""

import re
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...records import read_json
from ...weights import read_state_dict
from ..interface import StateDict

_WEIGHTS = r"(?:diffusion_)?(?:pytorch_)?model(\.\w+)?(?:-\d+-of-\d+)?(\.\w+)?"  # with the variant before or behind


def settings_in(path: Path, part: str, name: str = "config.json") -> dict[str, Any]:
    """The settings of one part of the model in the folder ``path``. Raises UserError where there are none."""
    file = path / part / name
    if not file.is_file():
        raise UserError(
            f"{path} cannot be opened as a diffusers folder: it has no {part}/{name}. It needs unet, vae, text_encoder "
            "and scheduler inside, as save_pretrained writes them."
        )
    settings = read_json(file)
    if not isinstance(settings, dict):
        raise UserError(f"{file} is damaged: it holds no settings.")
    return settings


def weights_in(folder: Path) -> StateDict:
    """What all files of one network hold: safetensors before pickles, plain ones before variants (fp16).

    Raises UserError where there are none.
    """
    for suffix in ("safetensors", "bin"):
        variants: dict[str, list[Path]] = {}
        for file in sorted(folder.glob(f"*.{suffix}")):
            if named := re.fullmatch(rf"{_WEIGHTS}\.{suffix}", file.name):
                variants.setdefault(named[1] or named[2] or "", []).append(file)
        if variants:
            chosen = variants[min(variants)]
            return {key: value for file in chosen for key, value in read_state_dict(file).items()}
    raise UserError(f"{folder} holds no weights: no *model*.safetensors and no *model*.bin.")

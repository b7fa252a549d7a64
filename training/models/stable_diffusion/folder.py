"""Reads settings and weights from a diffusers folder, in any of the variants that ``save_pretrained`` writes."""

import re
from pathlib import Path
from typing import Any

from ...errors import DamagedFile, MissingFile
from ...records import read_json
from ...weights import read_state_dict
from ..interface import StateDict

# The variant precedes or follows the shard number.
_WEIGHTS = r"(?:diffusion_)?(?:pytorch_)?model(\.\w+)?(?:-\d+-of-\d+)?(\.\w+)?"


def settings_in(path: Path, part: str, name: str = "config.json") -> dict[str, Any]:
    """The settings of one part of the model in folder ``path``. Raises UserError if they are missing or damaged."""
    file = path / part / name
    if not file.is_file():
        raise MissingFile(
            f"{path} is not a diffusers folder: it has no {part}/{name}. It needs the sub-folders unet, vae, "
            "text_encoder and scheduler, as save_pretrained writes them."
        )
    settings = read_json(file)
    if not isinstance(settings, dict):
        raise DamagedFile(f"{file} is damaged: it contains no settings.")
    return settings


def weights_in(folder: Path) -> StateDict:
    """The weights in all files of one network. Prefers safetensors to pickles, and plain files to variants (fp16).

    Raises UserError if there are none.
    """
    for suffix in ("safetensors", "bin"):
        variants: dict[str, list[Path]] = {}
        for file in sorted(folder.glob(f"*.{suffix}")):
            if match := re.fullmatch(rf"{_WEIGHTS}\.{suffix}", file.name):
                variants.setdefault(match[1] or match[2] or "", []).append(file)
        if variants:
            chosen = variants[min(variants)]
            return {key: value for file in chosen for key, value in read_state_dict(file).items()}
    raise MissingFile(f"{folder} contains no weights: no *model*.safetensors and no *model*.bin.")

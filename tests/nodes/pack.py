"""Imports the modules of the pack that do not need ComfyUI, as ComfyUI does: from a package of any name."""

import importlib
import sys
import types
from pathlib import Path

PACK = "identity_aging_pack"


def module(name: str) -> types.ModuleType:
    """Returns a module of the pack, such as nodes.ui.images."""
    if PACK not in sys.modules:
        package = types.ModuleType(PACK)
        package.__path__ = [str(Path(__file__).parent.parent.parent)]
        sys.modules[PACK] = package
    return importlib.import_module(f"{PACK}.{name}")

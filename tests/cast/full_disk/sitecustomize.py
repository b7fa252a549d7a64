"""A machine on whose disk nothing more fits, for whoever starts Python with this folder on its path."""

import errno
from pathlib import Path

rename = Path.replace


def replace(self, target):
    if Path(target).suffix in (".pt", ".safetensors"):
        raise OSError(errno.ENOSPC, "No space left on device", str(target))
    return rename(self, target)


Path.replace = replace  # type: ignore[method-assign]

"""What validate_inputs answers. ComfyUI blames every input that such a function names, so it names those at fault."""

from collections.abc import Callable
from typing import Any

from ...training.errors import UserError


def sentence(check: Callable[..., Any], *values: Any) -> bool | str:
    """True, or why ``check`` refuses ``values``. A linked value is None, not known yet, and passes."""
    if None in values:
        return True
    try:
        check(*values)
    except UserError as error:
        return str(error)
    return True

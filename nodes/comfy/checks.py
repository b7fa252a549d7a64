"""What is said of inputs that do not fit."""

from collections.abc import Callable, Sequence
from typing import Any

from ...training.errors import UserError


def sentence(check: Callable[..., Any], *values: Any) -> bool | str:
    """What validate_inputs answers: True, or why ``check`` refuses ``values``. A linked one is None and passes.

    ComfyUI blames every input that a validate_inputs names: it should name those at fault only, or see ``blaming``.
    """
    if None in values:
        return True
    try:
        check(*values)
    except UserError as error:
        return str(error)
    return True


def blaming(name: str, said: bool | str) -> bool | str:
    """``said`` of the input ``name`` alone: web/identity_aging.js takes the blame off the others by this beginning."""
    return said if said is True else f"{name}: {said}"


def check_vae(vae: Any, channels: int, family: str) -> None:
    """Raises UserError where the VAE's latents are none of a model of this family, whose have so many channels."""
    if vae.latent_channels != channels:
        raise UserError(f"The VAE has {vae.latent_channels} latent channels; {family} has {channels}. Wire its own.")


def in_turn(values: Sequence[Any], count: int, what: str) -> list[Any]:
    """One of ``values`` for each of ``count`` pictures; they begin anew when done. Raises UserError where none fits."""
    if not values or count % len(values):
        raise UserError(
            f"{count} pictures cannot have {len(values)} {what} in turn. Give as many {what} as pictures, or draw each "
            "of them equally often, in their order; of a sequence, the count is the batch size of its latents."
        )
    return [*values] * (count // len(values))

"""A VAE that gives nan is named before training, instead of a learning rate or a photo during it."""

import re

import pytest
import torch

from tests.parts import NO_PREVIEWS, run, tiny_model, tiny_trainer
from training.errors import UnsupportedModel


def broken(part):
    """A model with one nan in this part of its VAE, "encoder" or "decoder"."""
    model = tiny_model()
    with torch.no_grad():
        getattr(model.codec.vae, part).conv_in.weight[0, 0, 0, 0] = torch.nan
    return model


@pytest.mark.parametrize(
    ("part", "options"),
    [
        ("encoder", {"loss": "none"}),
        ("decoder", {"loss": "none", "previews": NO_PREVIEWS}),
        ("decoder", {"loss": "biometric"}),
    ],
)
def test_a_vae_that_gives_nan_is_refused_before_training(part, options):
    with pytest.raises(UnsupportedModel, match=r"VAE in tiny\.safetensors.*\b0\.png"):
        tiny_trainer(broken(part), **options)


def test_a_broken_decoder_that_training_does_not_use_is_no_reason_to_refuse():
    trainer = tiny_trainer(broken("decoder"), loss="none", max_train_steps=1)
    run(trainer)
    assert trainer.step_number == 1


def test_a_vae_that_overflows_on_one_image_only_is_blamed_for_it():
    trainer = tiny_trainer(loss="none", max_train_steps=6)
    encode, photos = trainer.model.codec.encode, trainer.data.regularization.photos
    calls = []

    def overflowing(pixels):
        calls.append(pixels)
        mean, std = encode(pixels)
        return (mean * torch.inf if len(calls) == 2 else mean), std

    trainer.model.codec.encode = overflowing
    names = "|".join(re.escape(photo.name) for photo in [*photos, *(one.photo for one in trainer.data.instances)])
    with pytest.raises(UnsupportedModel, match=rf"VAE in tiny\.safetensors.*({names})"):
        run(trainer)

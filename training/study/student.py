"""A small decoder of the world's latents, as TAESD is one of Stable Diffusion's: what does the identity loss lose?"""

import functools

import torch

from ..models.vae import LatentCodec
from ..world.draw.drawing import draw
from ..world.draw.population import HELD_OUT, some_ages
from ..world.draw.traits import identities, views
from ..world.model import base_model

FACES = range(HELD_OUT + 100_000, HELD_OUT + 100_512)  # in no other part of the study
STEPS, BATCH, RATE = 400, 16, 3e-3
WIDTH = 16  # channels; the world's own decoder has 64


@functools.cache  # a study asks for it in several trials
def student() -> LatentCodec:
    """Trained with MSE to draw the pictures that the world's own encoder saw; its encoder is of no use."""
    from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

    pictures = draw(identities(FACES), some_ages(FACES), views(FACES))
    with torch.no_grad():
        latents, _ = base_model().codec.encode(pictures)
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        vae = AutoencoderTiny(decoder_block_out_channels=(WIDTH,) * 4, num_decoder_blocks=(1,) * 4)
    optimizer = torch.optim.AdamW(vae.decoder.parameters(), RATE)
    for _ in range(STEPS):
        chosen = torch.randint(len(pictures), (BATCH,), generator=generator)
        loss = torch.nn.functional.mse_loss(vae.decode(latents[chosen]).sample, pictures[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return LatentCodec(vae.eval().requires_grad_(False))

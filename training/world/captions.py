"""Training captions for the world's base model, in the method's own prompts, and the vocabulary they need."""

import functools

import numpy as np
import torch
from torch import Tensor, nn

from ..ages import AGE_CLASSES, MAX_AGE, REGULARIZATION_PROMPT, SAMPLING_PROMPT, age_words, class_of, fill_prompt
from ..models.stable_diffusion.families import END_OF_TEXT, SD1
from ..models.stable_diffusion.text import tokenize

TEXT_WIDTH = 768  # of CLIP-L
SPREAD = 0.02  # standard deviation of CLIP's token embeddings
RARE = "*"  # placeholder for a rare token without meaning, such as "sks" before a subject is trained


def caption(years: float, random: np.random.Generator) -> str:
    """Returns a random caption for a face of ``years``, by age class or in whole years; one in ten is empty."""
    if random.random() < 0.1:
        return ""
    age = age_words(round(years)) if random.random() < 0.25 else class_of(years)
    form = random.random()
    if form < 0.35:
        return fill_prompt(REGULARIZATION_PROMPT, age=age)
    if form < 0.45:
        return "photo of a person"
    if form < 0.55:
        return f"photo of a {RARE} person"
    token = RARE if form < 0.75 else ""
    return fill_prompt(SAMPLING_PROMPT, token=token, class_word="person", age=age).replace("  ", " ")


def vocabulary() -> list[int]:
    """Returns the token ids that captions use, in ascending order."""
    ages = [*AGE_CLASSES, *map(age_words, range(MAX_AGE + 1))]
    tokens = tokenize(["photo of a person as " + age for age in ages], END_OF_TEXT)
    return sorted(set(tokens.flatten().tolist()))


def filler(tokens: list[int]) -> Tensor:
    """Returns untrained embeddings [N, 768], each seeded by its token id and so the same on every machine."""
    rows = [np.random.default_rng((5, token)).random(TEXT_WIDTH, dtype=np.float32) for token in tokens]
    return torch.from_numpy(np.stack(rows) * 2 - 1) * (SPREAD * 3**0.5)


class Words(nn.Module):
    """CLIP-L without its layers: embeddings and the final norm. Twelve layers of zero weights compute the same."""

    positions: Tensor

    def __init__(self):
        super().__init__()
        self.ids = vocabulary()
        self.embeddings = nn.Parameter(filler(self.ids) / SPREAD)  # about 1, to suit the UNet's learning rate
        positions = filler(list(range(-77 + 10**6, 10**6)))
        self.register_buffer("positions", positions * 0.3)

    def forward(self, captions: list[str], random: np.random.Generator) -> Tensor:
        """Returns hidden states [B, 77, 768]; each RARE becomes a token sampled from CLIP's whole vocabulary."""
        rows = torch.stack([_tokens(text) for text in captions])
        places = torch.searchsorted(torch.tensor(self.ids), rows).clamp_max(len(self.ids) - 1)
        hidden = self.embeddings[places.to(self.embeddings.device)] * SPREAD
        rare = (rows == _tokens(RARE)[1]).to(hidden.device)
        if sampled := random.integers(0, END_OF_TEXT - 1, int(rare.sum())).tolist():
            hidden = hidden.masked_scatter(rare[..., None], filler(sampled).to(hidden))
        return nn.functional.layer_norm(hidden + self.positions, (TEXT_WIDTH,))


@functools.cache
def _tokens(text: str) -> Tensor:
    return tokenize([text.replace(RARE, "sks")], SD1.towers[0].pad_token)[0]

"""Encodes prompts into the UNet's conditioning."""

import functools
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from .emphasis import weighted_parts
from .families import CONTEXT_LENGTH, END_OF_TEXT, Family, Tower


@functools.cache
def _clip_tokenizer():
    from open_clip.tokenizer import SimpleTokenizer  # open_clip ships CLIP's vocabulary

    return SimpleTokenizer()


def tokenize(prompts: list[str], pad_token: int) -> Tensor:
    """Token ids, int64 [B, 77], see weighted_tokens."""
    return weighted_tokens(prompts, pad_token)[0]


def weighted_tokens(prompts: list[str], pad_token: int) -> tuple[Tensor, Tensor]:
    """Token ids, int64 [B, 77], and their weights, float32 [B, 77], see emphasis.

    Cuts longer prompts, with a warning that shows the part that was cut off.
    """
    ids, weights = [], []
    for prompt in prompts:
        parts = [(_clip_tokenizer().encode(text), weight) for text, weight in weighted_parts(prompt)]
        tokens = [(token, weight) for part, weight in parts for token in part]
        limit = CONTEXT_LENGTH - 2
        if len(tokens) > limit:
            rest = _clip_tokenizer().decode([token for token, _ in tokens[limit:]])
            warnings.warn(f"The prompt has {len(tokens)} tokens, but only {limit} fit. Cut off: '{rest}'", stacklevel=2)
        row = [(END_OF_TEXT - 1, 1.0), *tokens[:limit], (END_OF_TEXT, 1.0)]
        row += [(pad_token, 1.0)] * (CONTEXT_LENGTH - len(row))
        ids.append([token for token, _ in row])
        weights.append([weight for _, weight in row])
    return torch.tensor(ids), torch.tensor(weights)


@dataclass(frozen=True)
class Conditioning:
    """The encoding of a batch of prompts: ``hidden`` [B, 77, D] and, for SDXL, ``pooled`` [B, P]."""

    hidden: Tensor
    pooled: Tensor | None = None

    @staticmethod
    def stack(parts: list["Conditioning"]) -> "Conditioning":
        """Joins several batches into one."""
        pooled = [part.pooled for part in parts if part.pooled is not None]
        return Conditioning(torch.cat([part.hidden for part in parts]), torch.cat(pooled) if pooled else None)


class TextTower(nn.Module):
    """One CLIP text encoder with the keys of CLIPTextModelWithProjection, whatever the version of transformers."""

    text_model: Any

    def __init__(self, spec: Tower, clip_text_model: nn.Module, projection: nn.Linear | None):
        super().__init__()
        self.spec = spec
        self.text_model = getattr(clip_text_model, "text_model", clip_text_model)  # transformers 5 removed the wrapper
        self.text_projection = projection

    def forward(self, prompts: list[str]) -> tuple[Tensor, Tensor | None]:
        """Hidden states [B, 77, D] and, for a pooled tower, the projected embedding [B, P]."""
        tokens, weights = weighted_tokens(prompts, self.spec.pad_token)
        if (weights == 1).all():
            return self._encode(tokens)
        hidden, pooled = self._encode(torch.cat([tokens, tokenize([""], self.spec.pad_token)]))
        hidden, without = hidden[:-1], hidden[-1:]
        weights = weights[..., None].to(hidden)
        # As ComfyUI weighs: away from the encoding of the empty prompt; the pooled embedding has no weights.
        weighted = torch.where(weights == 1, hidden, without + weights * (hidden - without))
        return weighted, None if pooled is None else pooled[:-1]

    def _encode(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        tokens = tokens.to(self.text_model.embeddings.position_embedding.weight.device)
        output = self.text_model(tokens, output_hidden_states=True)
        hidden = output.hidden_states[-2] if self.spec.penultimate else output.last_hidden_state
        return hidden, None if self.text_projection is None else self.text_projection(output.pooler_output)


def new_tower(config, spec: Tower) -> TextTower:
    """Builds a text tower from transformers' CLIPTextConfig."""
    from transformers import CLIPTextModel

    projection = nn.Linear(config.hidden_size, config.projection_dim, bias=False) if spec.pooled else None
    return TextTower(spec, CLIPTextModel(config), projection)


class TextEncoder(nn.Module):
    """All text towers of a family. After ``freeze``, ``frozen_cache`` holds the encoded prompts."""

    towers: Any

    def __init__(self, family: Family, towers: list[TextTower]):
        super().__init__()
        self.family = family
        self.towers = nn.ModuleList(towers)
        self.frozen_cache: dict[str, Conditioning] | None = None

    def forward(self, prompts: list[str]) -> Conditioning:
        """Conditioning of ``prompts``: the towers' hidden states, concatenated along the last dimension."""
        outputs = [tower(prompts) for tower in self.towers]
        pooled = [pooled for _, pooled in outputs if pooled is not None]
        return Conditioning(torch.cat([hidden for hidden, _ in outputs], dim=-1), pooled[0] if pooled else None)

    @torch.no_grad()
    def freeze(self, prompts: list[str]) -> None:
        """Encodes ``prompts`` once. After that only these can be encoded, and the towers can leave the device."""
        self.requires_grad_(False)
        self.frozen_cache = {prompt: self([prompt]) for prompt in dict.fromkeys(prompts)}

    def encode(self, prompts: list[str]) -> Conditioning:
        """Conditioning of ``prompts``, from the cache if there is one."""
        if self.frozen_cache is None:
            return self(prompts)
        return Conditioning.stack([self.frozen_cache[prompt] for prompt in prompts])

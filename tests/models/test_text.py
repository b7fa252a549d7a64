"""CLIP tokens, and the cache of encoded prompts."""

import pytest
import torch

from tests.parts import tiny_model
from training.models.stable_diffusion.families import SD1, SD2, SDXL
from training.models.stable_diffusion.text import tokenize

PUBLISHED = {  # token ids from the documentation of OpenAI's CLIP and the tests of CLIPTokenizer
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "A Photo of a  CAT": [320, 1125, 539, 320, 2368],
    "": [],
}


@pytest.mark.parametrize("prompt", PUBLISHED)
@pytest.mark.parametrize("pad", [0, 49407])
def test_token_ids_are_those_of_clip(prompt, pad):
    expected = [49406, *PUBLISHED[prompt], 49407]
    expected += [pad] * (77 - len(expected))
    assert tokenize([prompt], pad).tolist() == [expected]


def test_every_family_pads_with_the_token_it_was_trained_with():
    pads = {family.name: [tower.pad_token for tower in family.towers] for family in (SD1, SD2, SDXL)}
    assert list(pads.values()) == [[49407], [0], [49407, 0]]


def test_a_long_prompt_is_cut_with_a_warning_that_shows_the_rest():
    with pytest.warns(UserWarning, match=r"80.*75.*'cat cat cat cat dog ?'"):
        (row,) = tokenize(["cat " * 79 + "dog"], 0).tolist()
    assert len(row) == 77 and row[-1] == 49407


@pytest.mark.parametrize("family", [SD1, SD2, SDXL], ids=lambda family: family.name)
def test_cached_prompts_equal_freshly_encoded_ones(family):
    text = tiny_model(family).denoiser.text
    with torch.no_grad():
        fresh = text(["photo of a child", "photo of a old"])
    text.freeze(["photo of a old", "photo of a child"])
    cached = text.encode(["photo of a child", "photo of a old"])
    torch.testing.assert_close(cached.hidden, fresh.hidden)
    assert (cached.pooled is None) == (family is not SDXL)
    if cached.pooled is not None:
        torch.testing.assert_close(cached.pooled, fresh.pooled)

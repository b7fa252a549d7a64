import pytest
import torch

from tests.parts import tiny_model
from training.models.stable_diffusion.families import SD1, SD2, SDXL
from training.models.stable_diffusion.text import tokenize

PUBLISHED = {  # token ids of OpenAI's CLIP, as its documentation and CLIPTokenizer's tests print them
    "a photo of a cat": [320, 1125, 539, 320, 2368],
    "A Photo of a  CAT": [320, 1125, 539, 320, 2368],
    "": [],
}


@pytest.mark.parametrize("prompt", PUBLISHED)
@pytest.mark.parametrize("pad", [0, 49407])
def test_tokens_are_clips(prompt, pad):
    expected = [49406, *PUBLISHED[prompt], 49407]
    expected += [pad] * (77 - len(expected))
    assert tokenize([prompt], pad).tolist() == [expected]


def test_families_pad_as_they_were_trained():
    pads = {family.name: [tower.pad_token for tower in family.towers] for family in (SD1, SD2, SDXL)}
    assert list(pads.values()) == [[49407], [0], [49407, 0]]


def test_long_prompts_are_cut_and_what_is_lost_is_shown():
    with pytest.warns(UserWarning, match=r"80 tokens and 75 fit; this was cut off: 'cat cat cat cat dog ?'"):
        (row,) = tokenize(["cat " * 79 + "dog"], 0).tolist()
    assert len(row) == 77 and row[-1] == 49407


@pytest.mark.parametrize("family", [SD1, SD2, SDXL], ids=lambda family: family.name)
def test_frozen_prompts_are_what_they_were(family):
    text = tiny_model(family).denoiser.text
    with torch.no_grad():
        fresh = text(["photo of a child", "photo of a old"])
    text.freeze(["photo of a old", "photo of a child"])
    kept = text.encode(["photo of a child", "photo of a old"])
    torch.testing.assert_close(kept.hidden, fresh.hidden)
    assert (kept.pooled is None) == (family is not SDXL)
    if kept.pooled is not None:
        torch.testing.assert_close(kept.pooled, fresh.pooled)

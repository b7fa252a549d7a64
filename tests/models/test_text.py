"""CLIP tokens, and the cache of encoded prompts."""

import pytest
import torch

from tests.parts import tiny_model
from training.models.stable_diffusion.emphasis import weighted_parts
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


@pytest.mark.parametrize(
    ("prompt", "parts"),
    [
        ("a photo", [("a photo", 1)]),
        ("a (smiling:1.3) cat", [("a ", 1), ("smiling", 1.3), (" cat", 1)]),
        ("(cat)", [("cat", 1.1)]),
        ("((cat))", [("cat", 1.21)]),
        ("(a (cat) here:0.5)", [("a ", 0.5), ("cat", 0.55), (" here", 0.5)]),
        (r"cat \(animal\)", [("cat (animal)", 1)]),
        ("smiling :)", [("smiling :)", 1)]),
        ("(12:30) and (x:y)", [("12", 30), (" and ", 1), ("x:y", 1.1)]),
        ("(cat:nan)", [("cat:nan", 1.1)]),
        ("a (cat", [("a ", 1), ("(cat", 1)]),
    ],
)
def test_parentheses_weigh_words(prompt, parts):
    assert [(text, pytest.approx(weight)) for text, weight in parts] == weighted_parts(prompt)


@pytest.mark.parametrize("family", [SD1, SDXL], ids=lambda family: family.name)
def test_weighted_words_move_away_from_the_empty_prompt(family):
    text = tiny_model(family).denoiser.text
    with torch.no_grad():
        empty, plain = text([""]), text(["a photo of a cat"])
        weighted = text(["a (photo of:1.5) a cat", "a (photo of:0) a cat", "a photo of a cat"])
    expected = plain.hidden.clone()
    expected[:, 2:4] = empty.hidden[:, 2:4] + 1.5 * (plain.hidden - empty.hidden)[:, 2:4]
    torch.testing.assert_close(weighted.hidden[:1], expected)
    expected[:, 2:4] = empty.hidden[:, 2:4]
    torch.testing.assert_close(weighted.hidden[1:2], expected)
    torch.testing.assert_close(weighted.hidden[2:], plain.hidden)
    if plain.pooled is not None:
        torch.testing.assert_close(weighted.pooled, plain.pooled.expand(3, -1))


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

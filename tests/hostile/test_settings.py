"""Settings that mean no training, or another one than people think: each refused or remarked in a sentence."""

import pytest

from tests.parts import ToyEmbedder, known_place, tiny_trainer
from training.ages import fill_prompt
from training.config import TrainingConfig
from training.errors import UserError
from training.faces.observation import Observer
from training.runs.looks import LookPlan


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"instance_prompt": "photo of {token:>2000000000}"}, "{token:>2000000000}"),
        ({"instance_prompt": "photo of {token.__init__.__globals__}"}, "{token.__init__.__globals__}"),
        ({"regularization_prompt": "photo of a {age!r}"}, "{age!r}"),
        ({"instance_prompt": "photo of {token"}, "unbalanced braces"),
    ],
)
def test_a_prompt_that_is_no_template_is_refused_before_the_first_step(settings, sentence):
    with pytest.raises(UserError, match=sentence):
        tiny_trainer(**settings)


@pytest.mark.parametrize("token", ["{age}", "{token}", "{", "}}", "%s", "\\1"])
def test_a_token_of_braces_is_a_token(token):
    config = TrainingConfig(token=token)
    assert fill_prompt(config.instance_prompt, token=token, class_word="person") == f"photo of a {token} person"


class Twin(ToyEmbedder):
    """Another embedder by its weights."""

    def __init__(self):
        super().__init__()
        self.second.data *= 2


@pytest.mark.parametrize(
    ("judge", "loss", "flattered"),
    [(ToyEmbedder, "biometric", True), (Twin, "biometric", False), (ToyEmbedder, "cosine", False)],
)
def test_a_judge_that_the_loss_trains_for_is_remarked(judge, loss, flattered):
    trainer = tiny_trainer(looks=LookPlan(1, Observer(known_place, judge())), loss=loss)
    assert any("flatters" in remark for remark in trainer.remarks) == flattered

"""Settings that cannot be trained with are refused, and misleading ones are reported."""

import pytest

from tests.hostile.results import refused
from tests.parts import ToyEmbedder, known_place, tiny_trainer
from training.ages import fill_prompt
from training.config import TrainingConfig
from training.faces.observation import Observer
from training.runs.build import FaceNetworks, flattering_judge
from training.runs.evaluations import PreviewPlan


@pytest.mark.parametrize(
    ("settings", "values"),
    [
        ({"instance_prompt": "photo of {token:>2000000000}"}, ["{token:>2000000000}", "{class_word}", "{age}"]),
        (
            {"instance_prompt": "photo of {token.__init__.__globals__}"},
            ["{token.__init__.__globals__}", "{class_word}", "{age}"],
        ),
        ({"regularization_prompt": "photo of a {age!r}"}, ["{age!r}", "{class_word}", "{token}"]),
        ({"instance_prompt": "photo of {token"}, ["photo of {token"]),
    ],
)
def test_an_invalid_prompt_template_is_refused_before_the_first_step(settings, values):
    with refused(*values):
        tiny_trainer(**settings)


@pytest.mark.parametrize("token", ["{age}", "{token}", "{", "}}", "%s", "\\1"])
def test_a_token_may_contain_braces(token):
    config = TrainingConfig(token=token)
    assert fill_prompt(config.instance_prompt, token=token, class_word="person") == f"photo of a {token} person"


class Twin(ToyEmbedder):
    """An embedder with other weights."""

    def __init__(self):
        super().__init__()
        self.second.data *= 2


@pytest.mark.parametrize(
    ("judge", "loss", "flattered"),
    [(ToyEmbedder, "biometric", True), (Twin, "biometric", False), (ToyEmbedder, "cosine", False)],
)
def test_a_judge_that_is_also_the_loss_embedder_is_reported(judge, loss, flattered):
    plan = PreviewPlan(1, Observer(known_place, judge()))
    networks = FaceNetworks(known_place, ToyEmbedder())
    remarks = flattering_judge(TrainingConfig(loss=loss), networks, plan)
    assert any(ToyEmbedder.name in remark for remark in remarks) == flattered

"""A training in a real ComfyUI that is cancelled, and whose server is killed."""

import re

import pytest

from tests.comfyui.graphs import Studio, text_of
from tools.server import Server


@pytest.fixture
def own_base(base, tmp_path):
    """A base directory of the test's own, since its servers die; models and inputs are the shared ones."""
    for name in ("models", "input", "custom_nodes"):
        (tmp_path / name).symlink_to(base / name)
    return tmp_path


LONG = 13  # steps; no bar over pictures has as many


def long_training(name="anna"):
    graph = Studio()
    train = graph.train(name=name, max_train_steps=LONG, checkpointing_steps=2, preview_every=3)
    said = text_of(graph, (train, 6))
    return graph, train, said


def test_cancel_and_crash_lose_nothing(comfyui, python, own_base):
    graph, train, said = long_training()

    def steps_of(outcome):
        return [value for node, value, most in outcome.progress if node == train and most == LONG]

    def at_step(step):
        return lambda outcome: any(value >= step for value in steps_of(outcome))

    server = Server(python, comfyui, own_base)
    try:
        outcome = server.run(graph, until=lambda outcome: outcome.pictures)  # the six ages, after step 3
        server.interrupt()
        server.finish(outcome)
        assert outcome.status == "interrupted"
        cancelled_at = max(steps_of(outcome))
        outcome = server.run(graph, until=at_step(8))
        resumed_at = min(steps_of(outcome))
        assert cancelled_at < resumed_at <= cancelled_at + 2, "it goes on after the step at which it was cancelled"
    finally:
        server.kill()

    server = Server(python, comfyui, own_base)
    try:
        outcome = server.run(graph)
        assert outcome.status == "success"
        assert 7 <= min(steps_of(outcome)) <= 9, "it goes on from a state saved before the kill"
        assert re.search(r"resumed after step [678]\b", outcome.outputs[said]["text"][0])
    finally:
        server.stop()

    server = Server(python, comfyui, own_base)
    try:
        outcome = server.run(graph)
        assert outcome.status == "success"
        assert not steps_of(outcome), "finished on disk: no step is made"
        assert "found finished on disk" in outcome.outputs[said]["text"][0]
        (previews,) = own_base.glob("output/aging_runs/*/*_steps.png")
        previews.unlink()
        outcome = server.run(long_training("ben")[0])  # the same training by another name, so it is not cached
        assert f"its picture of the six ages is gone: {previews}" in outcome.error["exception_message"]
    finally:
        server.stop()

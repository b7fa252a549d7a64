"""A training in a real ComfyUI that is cancelled, and resumed after its server was killed."""

import re

import pytest

from tests.comfyui.graphs import Studio, text_of
from tools.server import Server


@pytest.fixture
def own_base(base, tmp_path):
    """A base directory for servers that get killed, with the shared models and inputs."""
    for name in ("models", "input", "custom_nodes"):
        (tmp_path / name).symlink_to(base / name)
    return tmp_path


LONG = 13  # steps; no progress bar over images has this length


def long_training(name="anna"):
    graph = Studio()
    train = graph.train(name=name, max_train_steps=LONG, checkpointing_steps=2, preview_every=3)
    report = text_of(graph, (train, 6))
    return graph, train, report


def test_cancel_and_crash_lose_nothing(comfyui, python, own_base):
    graph, train, report = long_training()

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
        (stopped_after,) = map(int, re.findall(r"\d+", outcome.texts[-1]))  # neither the end nor a time left
        outcome = server.run(graph, until=at_step(8))
        resumed_at = min(steps_of(outcome))
        assert cancelled_at < resumed_at <= cancelled_at + 2, "it must resume right after the cancelled step"
        assert resumed_at == stopped_after + 1
    finally:
        server.kill()

    server = Server(python, comfyui, own_base)
    try:
        outcome = server.run(graph)
        assert outcome.status == "success"
        assert 7 <= min(steps_of(outcome)) <= 9, "it must resume from a state saved before the kill"
        assert re.search(r"resumed\D*[678]\b", outcome.outputs[report]["text"][0])
    finally:
        server.stop()

    server = Server(python, comfyui, own_base)
    try:
        outcome = server.run(graph)
        assert outcome.status == "success"
        assert not steps_of(outcome), "a finished training must not run again"
        (previews,) = own_base.glob("output/aging_runs/*/*_steps.png")
        previews.unlink()
        outcome = server.run(long_training("ben")[0])  # the same training under another name, so it is not cached
        assert str(previews) in outcome.error["exception_message"]
    finally:
        server.stop()

"""Invalid inputs in a real ComfyUI: rejected before the queue runs if possible, else reported by the node."""

import json
import re

import pytest
import torch
from safetensors.torch import save_file

from tests.comfyui.graphs import Studio, save_lora
from tools.server import Refused
from training.edits import EDIT_PROMPT, edit_words_text
from training.faces.facenet import FACENET
from training.models.subject import HEADER

PUBLISHED = [file.name for file in FACENET.values()]


def rejected(server, graph):
    """Queues a graph that ComfyUI must reject. Returns the names of the marked inputs and the messages."""
    with pytest.raises(Refused) as rejection:
        server.queue(graph)
    answer = json.loads(str(rejection.value))
    errors = [error for node in answer["node_errors"].values() for error in node["errors"]]
    return [error["extra_info"]["input_name"] for error in errors], "\n".join(error["details"] for error in errors)


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"name": "../anna"}, "name", "'../anna'"),
        ({"name": "/etc/anna"}, "name", "'/etc/anna'"),
        ({"rank": 100_000}, "rank", ""),
        ({"max_train_steps": 0}, "max_train_steps", ""),
        ({"ages": "missing"}, "folder", "'missing'"),
        ({"ages": "empty"}, "folder", "'empty'"),
        ({"ages": "unknown"}, "folder", "img_0001.png.*child, teenager, youngadults, middleaged, elderly, old"),
    ],
)
def test_an_invalid_field_is_rejected_before_the_queue_runs_and_only_it_is_marked(server, change, field, value):
    graph = Studio()
    graph.save((graph.train(**change), 5), "never")
    marked, messages = rejected(server, graph)
    assert marked == [field]
    assert re.search(value, messages), messages


def test_a_missing_subject_is_rejected(server):
    graph = Studio()
    loaded = graph.add(
        "IDAgingLoadSubject", model=(graph.checkpoint, 0), clip=(graph.checkpoint, 1), subject_file="loras/missing.st",
        strength=1.0,
    )  # fmt: skip
    graph.save(graph.generate((loaded, 0), (graph.prompt((loaded, 1), "old", (loaded, 2)), 0)), "never")
    marked, messages = rejected(server, graph)
    assert marked == ["subject_file"] and "'loras/missing.st'" in messages


@pytest.mark.parametrize(
    ("node", "field", "value"),
    [("IDAgingLoadPhotos", "birth_date", "31.5.1984"), ("IDAgingLoadRegularizationSet", "ages", "guess")],
)
def test_an_invalid_birth_date_or_way_to_read_ages_is_rejected(server, node, field, value):
    graph = Studio()
    graph.add("PreviewAny", source=(graph.add(node, folder="ages", **{field: value}), 1))
    _, messages = rejected(server, graph)
    assert all(f" - {field}: '{value}'" in line for line in messages.splitlines())


def test_an_invalid_age_is_rejected_before_the_queue_runs(server):
    graph = Studio()
    prompt = graph.prompt((graph.checkpoint, 1), "grandma", template="a {name}")
    graph.save(graph.generate((graph.checkpoint, 0), (prompt, 0)), "never")
    marked, messages = rejected(server, graph)
    assert marked == ["age"] and "'grandma'" in messages

    for ages in ({"from_age": "grandma"}, {"to_age": "grandma"}):
        graph = Studio()
        sequence = graph.sequence((graph.checkpoint, 1), **ages)
        graph.save(graph.generate((graph.checkpoint, 0), (sequence, 0), 6), "never")
        _, messages = rejected(server, graph)
        assert all(f" - {field}: 'grandma'" in line for field in ages for line in messages.splitlines())

    graph = Studio()
    sequence = graph.sequence((graph.checkpoint, 1), from_age="child", to_age="70")
    graph.save(graph.generate((graph.checkpoint, 0), (sequence, 0), 6), "never")
    marked, messages = rejected(server, graph)
    assert sorted(marked) == ["from_age", "to_age"], "a class and years do not go together, so both are marked"
    assert "child" in messages and "70" in messages


def test_missing_weights_are_rejected_before_the_queue_runs_and_both_remedies_are_marked(server):
    graph = Studio()
    weights = graph.add("IDAgingLoadFaceEmbedder", weights="20180408-102900-casia-webface.pt", download=False)
    score = graph.add(
        "IDAgingScoreIdentity", images=graph.photos(), references=graph.photos(), face_embedder=(weights, 0)
    )
    graph.save((score, 0), "never")
    marked, messages = rejected(server, graph)
    assert sorted(marked) == ["download", "weights"]
    for value in ("20180408-102900-casia-webface.pt", "models/facenet", "timesler/facenet-pytorch"):
        assert value in messages


def test_download_is_visible_while_a_file_that_it_fetches_is_missing(server):
    files = [server.base / "models/facenet" / name for name in (*PUBLISHED, "MobileFaceNet.tflite")]

    def is_advanced() -> bool:
        info = server.get("/object_info/IDAgingLoadFaceEmbedder")["IDAgingLoadFaceEmbedder"]
        return info["input"]["required"]["download"][1].get("advanced", False)

    try:
        for file in files:
            assert not is_advanced(), file.name
            file.touch()
        assert is_advanced()
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def failing_graphs(server):
    """Yields graph, exception type and a pattern of the values in the message."""
    graph = Studio()
    graph.save((graph.train(resolution=100), 5), "never")
    yield graph, "InvalidSetting", r"\b100\b.*\b64\b"
    graph = Studio()
    prompt = graph.prompt((graph.checkpoint, 1), "old", template="a {name}")
    graph.save(graph.generate((graph.checkpoint, 0), (prompt, 0)), "never")
    yield graph, "InvalidSetting", r"\{name\}"
    graph = Studio()
    graph.save((graph.train(embedder=False), 5), "never")
    yield graph, "MissingInput", "biometric.*face embedder"
    graph = Studio()
    graph.save((graph.train(photos=graph.photos(["faceless.png"])), 5), "never")
    yield graph, "NoFaceFound", r"\b1 photos\b"
    graph = Studio()
    faces = graph.add("IDAgingAlignFaces", images=graph.photos(["faceless.png"]), size=64, margin=0.5, level_eyes=True)
    graph.save((faces, 0), "never")
    yield graph, "NoFaceFound", r"\b1 images\b"
    graph = Studio()
    train = graph.train(ages=None, method="full", loss="none", max_train_steps=1)
    graph.add(save_lora(server), lora=(train, 3), prefix="never", steps=1)
    yield graph, "ExecutionBlocked", "LoRA"
    graph = Studio()
    graph.save((graph.train(photo_ages="8, 8, 30, 71"), 5), "never")
    yield graph, "InvalidSetting", r"(?=.*\b3 photos\b)(?=.*\b4 ages\b)"
    graph = Studio()
    mask = (graph.add("SolidMask", value=1.0, width=64, height=64), 0)
    graph.save((graph.train(photos=graph.photos(["photo0.png"]), masks=mask), 5), "never")
    yield graph, "InvalidData", "photo 1.*240 x 240 px.*64 x 64 px"
    graph = Studio()
    graph.save((graph.add("IDAgingLoadPhotos", folder="aged", ages="auto"), 0), "never")
    yield graph, "MissingInput", "auto.*clip_vision.*mobilefacenet"
    graph = Studio()
    stranger = graph.add(
        "IDAgingLoadSubject", model=(graph.checkpoint, 0), clip=(graph.checkpoint, 1),
        subject_file=f"loras/{a_lora_for_sdxl(server)}", strength=1.0,
    )  # fmt: skip
    graph.save(graph.generate((stranger, 0), (graph.sequence((stranger, 1), (stranger, 2)), 0), 6), "never")
    yield graph, "ModelMismatch", "stranger.safetensors.*SDXL.*Stable Diffusion 1.x"
    graph = Studio()
    train = graph.train()
    graph[train]["inputs"]["vae"] = [graph.add("VAELoader", vae_name="pixel_space"), 0]
    graph.save((train, 5), "never")
    yield graph, "ModelMismatch", r"\b3\b.*Stable Diffusion 1.x.*\b4\b"
    graph = Studio()
    prompt = graph.prompt((graph.checkpoint, 1), "old", extra="in a {red|blue} coat")
    graph.save(graph.generate((graph.checkpoint, 0), (prompt, 0)), "never")
    yield graph, "InvalidSetting", r"extra.*\{red\|blue\}"
    for name in ("name", "learning_rate"):
        graph = Studio()
        several = graph.add(
            "IDAgingEditPrompts", ages="child, old", candidates=1, seed=0, words=edit_words_text(),
            template=EDIT_PROMPT, class_word="person",
        )  # fmt: skip
        graph.save((graph.train(**{name: (several, 1)}), 5), "never")
        yield graph, "InvalidData", rf"\b{name}\b.*\b2\b"
    graph = Studio()
    score = graph.add(
        "IDAgingScoreIdentity", images=graph.photos(), references=graph.photos(), face_embedder=graph.embedder()
    )
    six = graph.photos(["photo0.png"] * 6)
    graph.save((graph.add("IDAgingAgingSheet", images=six, similarities=(score, 1), columns=6), 0), "never")
    yield graph, "InvalidData", r"\b6 images\b.*\b3 similarities\b"


def a_lora_for_sdxl(server):
    """Writes a LoRA with a layer that SD 1.x has in this shape, one in another shape, and one that it does not have."""
    layers = {
        "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q": (320, 320),
        "lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k": (320, 2048),
        "lora_unet_middle_block_1_transformer_blocks_9_attn1_to_q": (1280, 1280),
    }
    state = {}
    for name, (out, into) in layers.items():
        state |= {f"{name}.lora_up.weight": torch.ones(out, 2), f"{name}.lora_down.weight": torch.ones(2, into)}
    header = {"token": "sks", "class_word": "person", "ages": [], "family": "SDXL", "prediction_type": "epsilon"}
    header |= {"base_model": "big.safetensors", "base_sha256": "", "method": "lora", "loss": "none", "loss_weight": 0.0}
    header |= {"prior_loss_weight": 1.0, "steps": 1, "seed": 0, "resolution": 1024}
    file = server.base / "models/loras/aging_subjects/stranger.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, file, metadata={HEADER: json.dumps(header)})
    return file.name


def test_a_template_without_an_age_gives_a_warning(server):
    graph = Studio()
    for values in ({}, {"template": "photo of a {token} {class_word}"}):
        sequence = graph.sequence((graph.checkpoint, 1), **values)
        graph.save(graph.generate((graph.checkpoint, 0), (sequence, 0), 6), "ageless")
    outcome = server.run(graph)
    assert outcome.status == "success"
    (warning,) = outcome.warnings
    assert "'photo of a {token} {class_word}'" in warning and "{age}" in warning


@pytest.mark.parametrize("number", range(15))
def test_a_failing_node_reports_a_plain_error_and_the_server_keeps_running(server, number):
    graph, exception_type, values = list(failing_graphs(server))[number]
    outcome = server.run(graph)
    assert outcome.status == "error"
    assert re.search(values, outcome.error["exception_message"], re.DOTALL), outcome.error["exception_message"]
    assert outcome.error["exception_type"] == exception_type
    assert server.get("/system_stats")

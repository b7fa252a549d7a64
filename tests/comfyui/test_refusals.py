"""What cannot work, in a real ComfyUI: refused before the queue runs where that can be known, else said by its node."""

import json
import re

import pytest
import torch
from safetensors.torch import save_file

from tests.comfyui.graphs import Studio, save_lora
from tools.server import Refused
from training.faces.facenet import FACENET
from training.models.subject import HEADER

PUBLISHED = [file.name for file in FACENET.values()]


def refused(server, graph):
    """What ComfyUI refuses the graph for: the blamed inputs, and all that it says."""
    with pytest.raises(Refused) as refusal:
        server.queue(graph)
    answer = json.loads(str(refusal.value))
    errors = [error for node in answer["node_errors"].values() for error in node["errors"]]
    return [error["extra_info"]["input_name"] for error in errors], "\n".join(error["details"] for error in errors)


@pytest.mark.parametrize(
    ("change", "field", "sentence"),
    [
        ({"name": "../anna"}, "name", "'../anna'"),
        ({"name": "/etc/anna"}, "name", "'/etc/anna'"),
        ({"resolution": 100_000}, "resolution", ""),
        ({"max_train_steps": 0}, "max_train_steps", ""),
        ({"ages": "missing"}, "folder", "no folder 'missing' under ComfyUI's input folder"),
        ({"ages": "empty"}, "folder", "'empty' holds no picture"),
        ({"ages": "unknown"}, "folder", "img_0001.png.*child, teenager, youngadults, middleaged, elderly, old"),
    ],
)
def test_a_wrong_field_is_refused_before_the_queue_runs_and_is_the_only_one_blamed(server, change, field, sentence):
    graph = Studio()
    graph.save((graph.train(**change), 5), "never")
    blamed, said = refused(server, graph)
    assert blamed == [field]
    assert re.search(sentence, said), said


def test_a_subject_that_is_not_there_is_refused_in_a_sentence(server):
    graph = Studio()
    loaded = graph.add(
        "IDAgingLoadSubject", model=(graph.checkpoint, 0), clip=(graph.checkpoint, 1), subject_file="loras/nobody.st",
        strength=1.0,
    )  # fmt: skip
    graph.save(graph.draw((loaded, 0), (graph.prompt((loaded, 1), "old", (loaded, 2)), 0)), "never")
    blamed, said = refused(server, graph)
    assert blamed == ["subject_file"] and "There is no subject 'loras/nobody.st'. Choose one" in said


def test_a_wrong_age_is_refused_before_the_queue_runs(server):
    graph = Studio()
    prompt = graph.prompt((graph.checkpoint, 1), "grandma", template="a {name}")
    graph.save(graph.draw((graph.checkpoint, 0), (prompt, 0)), "never")
    blamed, said = refused(server, graph)
    assert blamed == ["age"] and "'grandma' is not an age" in said

    for ages in ({"from_age": "grandma"}, {"to_age": "grandma"}):
        graph = Studio()
        sequence = graph.sequence((graph.checkpoint, 1), **ages)
        graph.save(graph.draw((graph.checkpoint, 0), (sequence, 0), 6), "never")
        _, said = refused(server, graph)
        assert all(f" - {field}: 'grandma' is not an age" in line for field in ages for line in said.splitlines())

    graph = Studio()
    sequence = graph.sequence((graph.checkpoint, 1), from_age="child", to_age="70")
    graph.save(graph.draw((graph.checkpoint, 0), (sequence, 0), 6), "never")
    blamed, said = refused(server, graph)
    assert sorted(blamed) == ["from_age", "to_age"], "it is the two that do not fit each other"
    assert "between two age classes or between two numbers of years" in said


def test_missing_weights_are_refused_before_the_queue_runs_by_what_mends_them(server):
    graph = Studio()
    weights = graph.add("IDAgingLoadFaceEmbedder", weights="20180408-102900-casia-webface.pt", download=False)
    score = graph.add(
        "IDAgingScoreIdentity", images=graph.photos(), references=graph.photos(), face_embedder=(weights, 0)
    )
    graph.save((score, 0), "never")
    blamed, said = refused(server, graph)
    assert sorted(blamed) == ["download", "weights"]
    named = r"20180408-102900-casia-webface.pt \(.*\) is not in .*models/facenet.*timesler/facenet-pytorch"
    assert re.search(named, said)


def test_download_is_in_sight_while_anything_is_missing_that_it_fetches(server):
    files = [server.base / "models/facenet" / name for name in (*PUBLISHED, "MobileFaceNet.tflite")]

    def folded() -> bool:
        info = server.get("/object_info/IDAgingLoadFaceEmbedder")["IDAgingLoadFaceEmbedder"]
        return info["input"]["required"]["download"][1].get("advanced", False)

    try:
        for file in files:
            assert not folded(), file.name
            file.touch()
        assert folded()
    finally:
        for file in files:
            file.unlink(missing_ok=True)


def failing_graphs(server):
    graph = Studio()
    graph.save((graph.train(resolution=100), 5), "never")
    yield graph, "multiple of 64"
    graph = Studio()
    prompt = graph.prompt((graph.checkpoint, 1), "old", template="a {name}")
    graph.save(graph.draw((graph.checkpoint, 0), (prompt, 0)), "never")
    yield graph, r"\{name\}"
    graph = Studio()
    graph.save((graph.train(embedder=False), 5), "never")
    yield graph, "biometric loss compares faces and needs a face embedder"
    graph = Studio()
    graph.save((graph.train(photos=graph.photos(["faceless.png"])), 5), "never")
    yield graph, "No face was found in any of the 1 photos"
    graph = Studio()
    faces = graph.add("IDAgingAlignFaces", images=graph.photos(["faceless.png"]), size=64, margin=0.5, level_eyes=True)
    graph.save((faces, 0), "never")
    yield graph, "No face was found in any of the 1 pictures"
    graph = Studio()
    train = graph.train(ages=None, method="full", loss="none", max_train_steps=1)
    graph.add(save_lora(server), lora=(train, 3), prefix="never", steps=1)
    yield graph, "A full fine-tune has no LoRA"
    graph = Studio()
    graph.save((graph.train(photo_ages="8, 8, 30, 71"), 5), "never")
    yield graph, "There are 3 photos but 4 ages"
    graph = Studio()
    mask = (graph.add("SolidMask", value=1.0, width=64, height=64), 0)
    graph.save((graph.train(photos=graph.photos(["photo0.png"]), masks=mask), 5), "never")
    yield graph, "photo 1 .*240 x 240 px.* 64 x 64 px"
    graph = Studio()
    graph.save((graph.add("IDAgingLoadPhotos", folder="aged", ages="auto"), 0), "never")
    yield graph, "Ages auto need somebody who sees ages"
    graph = Studio()
    stranger = graph.add(
        "IDAgingLoadSubject", model=(graph.checkpoint, 0), clip=(graph.checkpoint, 1),
        subject_file=f"loras/{a_lora_for_sdxl(server)}", strength=1.0,
    )  # fmt: skip
    graph.save(graph.draw((stranger, 0), (graph.sequence((stranger, 1), (stranger, 2)), 0), 6), "never")
    yield graph, "stranger.safetensors was trained on SDXL, and this MODEL is Stable Diffusion 1.x"
    graph = Studio()
    train = graph.train()
    graph[train]["inputs"]["vae"] = [graph.add("VAELoader", vae_name="pixel_space"), 0]
    graph.save((train, 5), "never")
    yield graph, "The VAE has 3 latent channels; Stable Diffusion 1.x has 4"


def a_lora_for_sdxl(server):
    """With a layer that SD 1.x has in this shape, one that it has in another, and one that it has not."""
    layers = {
        "lora_unet_input_blocks_1_1_transformer_blocks_0_attn1_to_q": (320, 320),
        "lora_unet_input_blocks_1_1_transformer_blocks_0_attn2_to_k": (320, 2048),
        "lora_unet_middle_block_1_transformer_blocks_9_attn1_to_q": (1280, 1280),
    }
    state = {}
    for name, (out, into) in layers.items():
        state |= {f"{name}.lora_up.weight": torch.ones(out, 2), f"{name}.lora_down.weight": torch.ones(2, into)}
    named = {"token": "sks", "class_word": "person", "ages": [], "family": "SDXL", "prediction_type": "epsilon"}
    named |= {"base_model": "big.safetensors", "base_sha256": "", "method": "lora", "loss": "none", "loss_weight": 0.0}
    named |= {"prior_loss_weight": 1.0, "steps": 1, "seed": 0, "resolution": 1024}
    file = server.base / "models/loras/aging_subjects/stranger.safetensors"
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(state, file, metadata={HEADER: json.dumps(named)})
    return file.name


def test_a_template_without_an_age_is_warned_of(server):
    graph = Studio()
    for values in ({}, {"template": "photo of a {token} {class_word}"}):
        sequence = graph.sequence((graph.checkpoint, 1), **values)
        graph.save(graph.draw((graph.checkpoint, 0), (sequence, 0), 6), "ageless")
    outcome = server.run(graph)
    assert outcome.status == "success"
    assert outcome.warnings == [
        "The template 'photo of a {token} {class_word}' has no {age}: the prompt is the same at every age."
    ]


@pytest.mark.parametrize("number", range(11))
def test_what_cannot_work_says_so_in_a_sentence_and_the_server_lives(server, number):
    graph, sentence = list(failing_graphs(server))[number]
    outcome = server.run(graph)
    assert outcome.status == "error"
    assert re.search(sentence, outcome.error["exception_message"], re.DOTALL), outcome.error["exception_message"]
    assert outcome.error["exception_type"] in ("UserError", "ExecutionBlocked"), "stands before the sentence"
    assert server.get("/system_stats")

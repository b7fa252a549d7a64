"""The shipped graphs in a real ComfyUI, scaled down: each API copy must run without an error."""

import json
import os
import re
import subprocess
import sys

import pytest
from PIL import Image

from tests.comfyui.conftest import FACENET
from tools.graphs import GRAPHS, NEEDS, OBJECT_INFO, REPOSITORY, api_file, changed, read
from tools.locales import english
from tools.server import Server
from training.data.dataset import read_regularization_set

SMALL = {
    "CheckpointLoaderSimple": {"ckpt_name": "shallow.safetensors"},
    "IDAgingLoadFaceEmbedder": {"weights": FACENET},
    "IDAgingTrainSubject": {"max_train_steps": 2, "resolution": 64, "rank": 4, "preview_every": 1},
    **{f"Empty{kind}LatentImage": {"width": 64, "height": 64} for kind in ("", "Flux2", "SD3")},
    "ImageScale": {"width": 64},
    "KSampler": {"steps": 2},
    "ImageScaleToTotalPixels": {"megapixels": 0.01},
    "IDAgingEditPrompts": {"candidates": 1},
    "BasicScheduler": {"steps": 2},
}
WRITES = {  # a file that each graph writes to output/
    "train_subject": "aging/first_sheet_00001_.png",
    "aging_sequence": "aging/sequence_00001_.png",
    "age_by_edit": "aging/edit_00001_.png",
    "age_existing_photo": "aging/photo_00001_.png",
    "aging_video": "aging/video_00001_.mp4",
    "score_identity": "aging/scored_00001_.png",
    "compare_roads": "aging/roads_00001_.png",
    "train_klein": "aging/first_sheet_klein_00001_.png",
    "train_z_image": "aging/first_sheet_z_image_00001_.png",
    "make_regularization_set": "ages/middle-aged_00001_.png",
    "try_it_here": "aging/try_it_here_00001_.png",
}
TRAIN = "IDAgingTrainSubject"
SUBJECTS = {"train_subject": "subject", "train_klein": "subject_klein", "train_z_image": "subject_z_image"}


def small(path):
    synthetic = path.stem == "try_it_here"
    unchanged = {"CheckpointLoaderSimple": {}, "IDAgingLoadFaceEmbedder": {}, "ImageScale": {}} if synthetic else {}
    graph = changed(read(api_file(path)), SMALL | unchanged)
    for node in graph.values():
        if node["class_type"] in ("UNETLoader", "CLIPLoader", "VAELoader"):
            node["class_type"] = f"TestsTiny{node['class_type']}"
        if node["inputs"].get("steps") == 48:
            node["inputs"]["steps"] = 8
    return graph


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_graph_finishes_without_an_error(server, path):
    if path.stem in NEEDS and "EmptyFlux2LatentImage" not in server.get("/object_info"):
        pytest.skip("this ComfyUI has no Flux.2")
    outcome = server.run(small(path))
    assert outcome.status == "success", outcome.error.get("exception_message") or server.log.read_text()[-3000:]
    assert set(outcome.executed) <= set(small(path))
    written = server.base / "output" / WRITES[path.stem]
    assert written.stat().st_size > 0
    if path.stem in SUBJECTS:
        (shown,) = [outcome.outputs[node] for node, each in small(path).items() if each["class_type"] == TRAIN]
        assert shown["images"] and re.search(r"\b2 (looks|previews)\b", shown["text"][0]), "scored previews stay on it"
        assert (server.base / f"models/loras/aging_subjects/{SUBJECTS[path.stem]}_00001_.safetensors").is_file()
    if path.stem == "compare_roads":
        sheet = Image.open(written)
        assert sheet.width > 6 * 80 and sheet.height > 3 * 80, "one row per method"
    if path.stem == "age_existing_photo":
        sheet = Image.open(written)
        assert sheet.width > 3 * 64 and sheet.height > 2 * 64
    if path.stem == "make_regularization_set":
        names = sorted(file.name for file in written.parent.iterdir())
        assert len(names) == 6, names
        assert sorted(read_regularization_set(written.parent).ages) == sorted(
            ["child", "teenager", "youngadults", "middleaged", "elderly", "old"]
        )


def test_the_stored_object_info_matches_our_nodes(server):
    assert english(server.get("/object_info")) == english(read(OBJECT_INFO))


def test_the_templates_are_our_graphs_without_their_api_copies(server):
    (listed,) = server.get("/workflow_templates").values()
    assert sorted(listed) == sorted(path.stem for path in GRAPHS)


def test_help_pages_and_translations_are_served(server):
    assert read(REPOSITORY / "locales/ja/nodeDefs.json").items() <= server.get("/i18n")["ja"]["nodeDefs"].items()


def test_the_client_example_runs_a_graph(server, tmp_path):
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps(small(next(path for path in GRAPHS if path.stem == "score_identity"))))
    command = [sys.executable, REPOSITORY / "docs/queue_workflow.py", graph, "columns=2"]
    environment = os.environ | {"COMFYUI": f"http://127.0.0.1:{server.port}"}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (saved,) = [line for line in done.stdout.splitlines() if line.endswith(".png") and "scored" in line]
    picture = Image.open(tmp_path / saved)
    assert picture.height > picture.width * 0.9, "two columns should give at least two rows"


def test_the_client_example_trains_several_people_and_survives_a_bad_folder_and_a_dead_server(
    server, comfyui, python, base, tmp_path
):
    names = ("anna", "bert", "cleo")
    for number, name in enumerate(names):
        (base / "input" / name).mkdir(exist_ok=True)
        Image.open(base / f"input/photo{number}.png").save(base / "input" / name / "0.png")
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps(small(next(path for path in GRAPHS if path.stem == "train_subject"))))
    command = [sys.executable, REPOSITORY / "docs/queue_workflow.py", graph, "IDAgingLoadPhotos.folder={each}"]
    command += ["IDAgingTrainSubject.name={each}", "--each", *names, "broken"]
    second = Server(python, comfyui, base)
    try:
        ports = (9, server.port, second.port)  # no server runs at the first port
        environment = os.environ | {"COMFYUI": ",".join(f"http://127.0.0.1:{port}" for port in ports)}
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    finally:
        second.stop()
    assert done.returncode == 1 and "broken: " in done.stderr and "cut.png" in done.stderr
    assert "127.0.0.1:9 " in done.stderr
    for name in names:
        assert f"{name}_success on" in done.stdout and list(tmp_path.glob(f"{name}_first_sheet_*.png"))
        assert len(list((base / "output/aging_runs").glob(f"{name}_*/2_steps.safetensors"))) == 1
    assert len({line.split(" on ")[1] for line in done.stdout.splitlines() if " on " in line}) == 2

"""Whole graphs in a real ComfyUI, as an artist queues them."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import save_file

from tests.comfyui.conftest import FOLDER_NAME
from tests.comfyui.graphs import NODES, SIDE, Studio, pictures, run_ok, save_lora, text_of
from training.biometrics.verdicts import MEANINGS, SAME
from training.faces.face_api import FACE_API, MANIFEST
from training.faces.mobilefacenet import MOBILEFACENET
from training.models.stable_diffusion import keys


def test_every_node_is_listed_with_its_sockets(server):
    object_info = server.get("/object_info")
    assert {name for name in object_info if name.startswith("IDAging")} == set(NODES)
    for name, (inputs, outputs) in NODES.items():
        node = object_info[name]
        all_inputs = node["input"]["required"] | node["input"].get("optional", {})
        assert set(inputs) <= all_inputs.keys(), name
        assert node["output"] == outputs, name
        assert node["category"] == "identity aging"
        if "search_aliases" in object_info["CheckpointLoaderSimple"]:
            assert node["search_aliases"], f"{name} has no search aliases"
        for widget, (_, options) in all_inputs.items():
            assert options.get("tooltip"), f"{name}.{widget} has no tooltip"


def test_the_extension_imports_quickly_and_without_errors(server):
    log = server.log.read_text()
    assert not re.search(r"IMPORT FAILED|Cannot import|Error while calling comfy_entrypoint", log), log
    (seconds,) = re.findall(rf"([\d.]+) seconds: .*{FOLDER_NAME}", log)
    assert float(seconds) <= 1  # 0.1 s on an idle machine; importing diffusers alone takes several seconds


def test_from_photos_to_a_scored_sheet(server):
    graph = Studio()
    photos = graph.photos()
    train = graph.train(photos)
    sequence = graph.sequence((train, 1), (train, 2))
    images = graph.generate((train, 0), (sequence, 0), count=(sequence, 2))
    score = graph.add("IDAgingScoreIdentity", images=images, references=photos, face_embedder=graph.embedder(),
                      ages=(sequence, 1))  # fmt: skip
    sheet = graph.add(
        "IDAgingAgingSheet", images=images, ages=(sequence, 1), similarities=(score, 1), columns=6
    )  # fmt: skip
    nodes = {name: graph.save(link, name) for name, link in
             {"images": images, "sheet": (sheet, 0), "annotated": (score, 0), "best": (score, 2),
              "previews": (train, 5)}.items()}  # fmt: skip
    texts = {name: text_of(graph, link) for name, link in {"train": (train, 6), "score": (score, 3)}.items()}
    graph.add("LossGraphNode", loss=(train, 4), filename_prefix="loss")
    outcome = run_ok(server, graph)

    shapes = {name: [picture.shape for picture in pictures(server, outcome, node)] for name, node in nodes.items()}
    assert shapes["images"] == shapes["previews"] == [(SIDE, SIDE, 3)] * 6
    assert len(shapes["annotated"]) == 6 and {shape[1] for shape in shapes["annotated"]} == {SIDE}
    assert shapes["best"] == [(SIDE, SIDE, 3)]
    assert len(shapes["sheet"]) == 1 and shapes["sheet"][0][1] > 6 * SIDE
    report = outcome.outputs[texts["train"]]["text"][0]
    assert re.search(r"\b3 photos\b.*\b3\b", report)
    assert "child 1, teenager 0" in report
    assert re.search(r"lora.*biometric", report) and re.search(r"\b4 steps\b", report)
    assert re.search(r"[\d.]+ [GM]iB .*\d+ px.*gradient_checkpointing", report)
    score = outcome.outputs[texts["score"]]["text"][0]
    assert re.search(r"failures to detect\b.*\b6 of 6\b", score)  # the images are noise
    assert "\n1 child " in score and "\n6 old " in score
    steps = [value for node, value, most in outcome.progress if node == train and most == 4]  # others count photos
    assert list(dict.fromkeys(steps)) == [1, 2, 3, 4]
    assert any(re.search(r"\b4 of 4\b", text) for text in outcome.texts)
    shown = [(value, most) for node, value, most in outcome.progress if node == train]
    assert shown[shown.index((1, 4)) - 1][0] == 0, "the bar over photos is full; before the first step it is empty"


def test_photos_score_high_against_themselves_and_images_without_a_face_are_marked(server):
    graph = Studio()
    faces = graph.add("IDAgingAlignFaces", images=graph.photos(), size=128, margin=0.5, level_eyes=True)
    mixed = graph.add("ImageBatch", image1=(faces, 0), image2=graph.photos(["faceless.png"]))
    score = graph.add(
        "IDAgingScoreIdentity", images=(mixed, 0), references=graph.photos(), face_embedder=graph.embedder()
    )
    score_text = text_of(graph, (score, 3))
    saved = graph.save((score, 0), "flagged")
    without_reference = graph.add(
        "IDAgingScoreIdentity", images=(faces, 0), references=graph.photos(["faceless.png"]),
        face_embedder=graph.embedder(),
    )  # fmt: skip
    without_reference_text = text_of(graph, (without_reference, 3))
    outcome = run_ok(server, graph)
    report = outcome.outputs[score_text]["text"][0]
    assert re.search(r"failures to detect\b.*\b1 of 4\b", report)
    means = [float(value) for value in re.findall(r"image \d\s+([\d.]+)", report)]
    assert len(means) == 3 and min(means) > 0.9
    flagged = pictures(server, outcome, saved)[3]
    red = (flagged[0, :, 0] > flagged[0, :, 1] + 60).mean()
    assert red > 0.9, "the image without a face must have a red frame"
    assert re.search(
        r"^No face.*\b1 reference photos", outcome.outputs[without_reference_text]["text"][0], re.MULTILINE
    )


def test_the_report_feeds_the_pick_and_writes_a_page(server):
    graph = Studio()
    faces = graph.photos()
    mixed = (graph.add("ImageBatch", image1=faces, image2=graph.photos(["faceless.png"])), 0)
    ages = graph.sequence((graph.checkpoint, 1), from_age="30", to_age="70", steps=2)
    others = graph.add("IDAgingLoadRegularizationSet", folder="ages")
    report = graph.add(
        "IDAgingIdentityReport", images=mixed, references=faces, face_embedder=graph.embedder(), ages=(ages, 1),
        others=(others, 0), impostors=faces, photo_age=40, filename_prefix="anna",
    )  # fmt: skip
    marked, plots = (graph.save((report, number), name) for number, name in enumerate(("marked", "plots")))
    report_text, page = (text_of(graph, (report, number)) for number in (5, 6))
    pick = graph.add("IDAgingPickBest", images=mixed, ages=(ages, 1), similarities=(report, 2),
                     estimated_years=(report, 3))  # fmt: skip
    best, pick_text = graph.save((pick, 0), "best"), text_of(graph, (pick, 3))
    outcome = run_ok(server, graph)

    assert len(pictures(server, outcome, marked)) == 4
    assert len(pictures(server, outcome, plots)) == 3
    words = outcome.outputs[report_text]["text"][0]
    assert re.search(r"\b1 of 4\b", words), "one image has no face"
    assert re.search(r"reference 2\b.*\breference 1\b", words), "crops of one photo must count once"
    count, least = map(int, re.search(r"(\d+) non-mated comparisons\b.*?\bFMR of (\d+) %", words).groups())
    assert count in (3, 6) and least == round(300 / count)  # three impostors; the rule of three
    html = Path(outcome.outputs[page]["text"][0])
    assert html == server.base / "output/identity_reports/anna_00001_.html"
    assert html.read_text().count("data:image/jpeg") == 4
    reasons = outcome.outputs[pick_text]["text"][0].splitlines()
    assert [re.findall(r"\d+", reason.split(":", 1)[1]) for reason in reasons] == [["2"], ["1"]], "faces per age"
    picked = pictures(server, outcome, best)
    photos = [np.asarray(Image.open(server.base / f"input/photo{number}.png")) for number in range(3)]
    assert len(picked) == 2 and np.array_equal(picked[1], photos[1])
    assert any(np.array_equal(picked[0], photo) for photo in (photos[0], photos[2]))


def test_training_and_report_use_the_ages_and_captions_of_the_photos(server):
    graph = Studio()
    loaded = graph.add("IDAgingLoadPhotos", folder="aged")
    photos, ages = (loaded, 0), (loaded, 1)
    train = graph.train(photos, photo_ages=ages, captions=(loaded, 2), masks=(loaded, 4), photo_years=True)
    report = graph.add(
        "IDAgingIdentityReport", images=photos, references=photos, face_embedder=graph.embedder(), ages=ages,
        photo_age=-1, filename_prefix="aged", photo_ages="8, child, old",
        held_out=graph.photos(["photo1.png"]), held_out_ages="71",
    )  # fmt: skip
    typed = graph.add("IDAgingLoadPhotos", folder="aged", ages="8, ?, 71")
    shown = graph.save((graph.add("MaskToImage", mask=(loaded, 4)), 0), "masks")
    texts = [text_of(graph, link) for link in ((loaded, 3), (loaded, 2), (train, 6), (report, 5), (typed, 3))]
    outcome = run_ok(server, graph)
    read, captions, trained, table, from_text = (outcome.outputs[node]["text"] for node in texts)
    assert "34, child, old" in read[0]
    assert captions == ["in a garden", "", "an old person"]
    assert "34, child, old" in trained[0] and re.search(r"\b2 of 3 photos\b.*\.txt", trained[0])
    assert "held" in table[0]
    assert "real photos, child" in table[0]
    assert "8, ?, 71" in from_text[0] and "1 of 3 photos" in from_text[0]
    masks = pictures(server, outcome, shown)
    assert [mask.shape for mask in masks] == [(240, 240, 3)] * 3
    assert masks[0].min() == masks[1].min() == 255 and masks[2].min() == 0 and masks[2].max() == 255


def test_a_saved_and_loaded_subject_generates_the_same_pixels(server):
    graph = Studio()
    train = graph.train(name="kept")  # a name that no other test saves
    prompt = graph.prompt((train, 1), "45", (train, 2))
    from_train = graph.save(graph.generate((train, 0), (prompt, 0)), "from_train")
    saved = graph.add("IDAgingSaveSubject", subject=(train, 2))
    graph.add(save_lora(server), lora=(train, 3), prefix="loras/native", steps=4)
    base = graph.save(graph.generate((graph.checkpoint, 0), (prompt, 0)), "base")
    first = run_ok(server, graph)
    path = first.outputs[saved]["text"][0]
    assert path == str(server.base / "models/loras/aging_subjects/kept_00001_.safetensors")
    with safe_open(path, "pt") as file:
        assert "identity_aging" in file.metadata()
    lora = next((server.base / "output/loras").glob("native*.safetensors"))
    shutil.copy(lora, server.base / "models/loras/native.safetensors")

    graph, images = Studio(), {}
    for strength in (0.0, 1.0, 2.0):
        load = graph.add(
            "IDAgingLoadSubject", model=(graph.checkpoint, 0), clip=(graph.checkpoint, 1),
            subject_file="loras/kept_00001_.safetensors", strength=strength,
        )  # fmt: skip
        prompt = graph.prompt((load, 1), "45", (load, 2))
        images[strength] = graph.save(graph.generate((load, 0), (prompt, 0)), f"strength{strength}")
    plain = graph.add(
        "LoraLoader", model=(graph.checkpoint, 0), clip=(graph.checkpoint, 1), lora_name="native.safetensors",
        strength_model=1.0, strength_clip=1.0,
    )  # fmt: skip
    images["native"] = graph.save(graph.generate((plain, 0), (prompt, 0)), "native")
    second = run_ok(server, graph)
    generated = {name: pictures(server, second, node)[0] for name, node in images.items()}
    expected = pictures(server, first, from_train)[0]
    assert np.array_equal(generated[1.0], expected)
    assert np.array_equal(generated["native"], expected)
    assert np.array_equal(generated[0.0], pictures(server, first, base)[0])
    assert not np.array_equal(generated[2.0], generated[1.0]) and not np.array_equal(generated[1.0], generated[0.0])


def test_a_full_fine_tune_is_saved_as_a_checkpoint(server):
    graph = Studio()
    train = graph.train(method="full", name="whole", learning_rate=1e-4, ages=None)
    prompt = graph.prompt((train, 1), "old", (train, 2))
    trained = graph.save(graph.generate((train, 0), (prompt, 0)), "full")
    base = graph.save(graph.generate((graph.checkpoint, 0), (prompt, 0)), "full_base")
    saved = graph.add("IDAgingSaveSubject", subject=(train, 2))
    first = run_ok(server, graph)
    assert not np.array_equal(pictures(server, first, trained)[0], pictures(server, first, base)[0])
    kept = Path(first.outputs[saved]["text"][0])
    assert kept == server.base / "models/checkpoints/aging_subjects/whole_00001_.safetensors"
    assert kept.stat().st_nlink == 2, "it must be a hard link to the file of the run"

    graph = Studio()
    load = graph.add(
        "IDAgingLoadSubject", model=(graph.checkpoint, 0), clip=(graph.checkpoint, 1),
        subject_file="checkpoints/whole_00001_.safetensors", strength=1.0,
    )  # fmt: skip
    native = graph.add("CheckpointLoaderSimple", ckpt_name="aging_subjects/whole_00001_.safetensors")
    images = [
        graph.save(graph.generate(model, (graph.prompt(clip, "old", **named), 0)), "again")
        for model, clip, named in (((load, 0), (load, 1), {"subject": (load, 2)}), ((native, 0), (native, 1), {}))
    ]
    second = run_ok(server, graph)
    for image in images:
        assert np.array_equal(pictures(server, second, image)[0], pictures(server, first, trained)[0])


def test_prompts_are_encoded_as_comfyui_does(server):
    """The sequence, our prompt node and CLIP Text Encode give the same pixels from the same seed."""
    graph = Studio()
    sequence = graph.sequence((graph.checkpoint, 1), from_age="child", to_age="teenager", steps=3, extra="in a park")
    count = (sequence, 2)
    in_one_run = graph.save(graph.generate((graph.checkpoint, 0), (sequence, 0), count), "sequence")
    ours = graph.prompt((graph.checkpoint, 1), "teenager", extra="in a park")
    theirs = graph.add(
        "CLIPTextEncode", clip=(graph.checkpoint, 1), text="photo of a sks person as teenager, in a park"
    )
    alone = [graph.save(graph.generate((graph.checkpoint, 0), (node, 0)), "alone") for node in (ours, theirs)]
    outcome = run_ok(server, graph)
    ours, theirs = (pictures(server, outcome, node)[0] for node in alone)
    assert np.array_equal(ours, theirs)
    child, between, teenager = pictures(server, outcome, in_one_run)
    assert np.abs(teenager - ours).max() <= 1, "same noise, so the same image up to rounding"
    assert not np.array_equal(child, teenager)
    assert not np.array_equal(between, child) and not np.array_equal(between, teenager)


def test_queueing_the_same_graph_again_does_not_train_again(server):
    graph = Studio()
    train = graph.train(seed=11)
    graph.save((train, 5), "cached")
    first = run_ok(server, graph)
    assert train in first.executed
    again = run_ok(server, graph)
    assert train not in again.executed
    shown = first.outputs[train]
    if "has_intermediate_output" in server.get("/object_info/IDAgingTrainSubject")["IDAgingTrainSubject"]:
        assert again.outputs[train] == shown, "text and image must be shown on the node again"
    assert "4 steps" in shown["text"][0]
    assert (server.base / "temp" / shown["images"][0]["filename"]).is_file()


def test_a_tiny_decoder_in_vae_approx_is_used_to_decode_faces(server):
    from diffusers import AutoencoderTiny

    torch.manual_seed(0)
    tiny = AutoencoderTiny()
    prefix = f"{keys.VAE_PREFIX}taesd_decoder."
    published = {keys.tiny_vae_key(key): value for key, value in tiny.state_dict().items()}
    decoder = {key.removeprefix(prefix): value for key, value in published.items() if key.startswith(prefix)}
    file = server.base / "models/vae_approx/taesd_decoder.safetensors"
    file.parent.mkdir(exist_ok=True)
    save_file({key: value.contiguous() for key, value in decoder.items()}, file)
    try:
        graph = Studio()
        with_faces = text_of(graph, (graph.train(name="tiny", max_train_steps=1), 6))
        without_faces = text_of(graph, (graph.train(name="plain", max_train_steps=1, loss="none"), 6))
        outcome = run_ok(server, graph)
    finally:
        file.unlink()
    name = "taesd_decoder.safetensors"
    assert name in outcome.outputs[with_faces]["text"][0]
    assert name not in outcome.outputs[without_faces]["text"][0]


@pytest.fixture
def real_judges(server, judges):
    """Copies the published networks into the server's models folder."""
    folder = server.base / "models/facenet"
    copies = [shutil.copy(judges / file.name, folder) for file in (MOBILEFACENET, FACE_API, MANIFEST)]
    yield
    for copy in copies:
        Path(copy).unlink()


@pytest.mark.usefixtures("real_judges")
def test_mobilefacenet_gives_verdicts_and_face_api_estimates_ages_without_a_clip(server):
    graph = Studio()
    embedder = graph.add("IDAgingLoadFaceEmbedder", weights="mobilefacenet", download=False), 0
    photos = graph.photos()
    score = graph.add("IDAgingScoreIdentity", images=photos, references=photos, face_embedder=embedder)
    report = graph.add(
        "IDAgingIdentityReport", images=photos, references=photos, face_embedder=embedder, photo_age=36,
        filename_prefix="real",
    )  # fmt: skip
    sheet = graph.add("IDAgingAgingSheet", images=photos, similarities=(score, 1), columns=3, face_embedder=embedder)
    bare = graph.add("IDAgingAgingSheet", images=photos, similarities=(score, 1), columns=3)
    saved = [graph.save((node, 0), name) for node, name in ((sheet, "marked"), (bare, "bare"))]
    texts = [text_of(graph, link) for link in ((score, 3), (report, 5))]
    outcome = run_ok(server, graph)
    assert outcome.outputs[texts[0]]["text"][0].count(MEANINGS[SAME]) == 3
    report_text = outcome.outputs[texts[1]]["text"][0]
    assert "face-api" in report_text and re.search(r"\bteenager and old\b", report_text)
    (marked,), (plain,) = (pictures(server, outcome, node) for node in saved)
    assert marked.shape[0] > plain.shape[0]


def test_a_sheet_repeats_its_labels_or_rejects_a_count_that_does_not_fit(server):
    graph = Studio()
    ages = graph.sequence((graph.checkpoint, 1), from_age="child", to_age="old", steps=3)
    sheet = graph.add("IDAgingAgingSheet", images=graph.photos(["photo0.png"] * 2), ages=(ages, 1), columns=2)
    graph.save((sheet, 0), "never")
    outcome = server.run(graph)
    assert outcome.error["exception_type"] == "InvalidData"
    assert re.search(r"\b2 images\b.*\b3 ages\b", outcome.error["exception_message"])
    graph[sheet]["inputs"]["images"] = list(graph.photos(["photo0.png"] * 6))
    assert server.run(graph).status == "success"
    graph[sheet]["inputs"]["rows"] = "before, after"
    assert re.search(r"\b3 rows\b.*\b2\b", server.run(graph).error["exception_message"])


def test_an_age_set_is_read_from_the_output_folder(server):
    shutil.copytree(server.base / "input/ages", server.base / "output/faces")
    graph = Studio()
    report = text_of(graph, (graph.add("IDAgingLoadRegularizationSet", folder="faces [output]"), 1))
    assert re.search(r"^3 \w+ images\b.*\bchild 1\b", run_ok(server, graph).outputs[report]["text"][0])

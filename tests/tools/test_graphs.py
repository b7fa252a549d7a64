"""The graphs of workflows/, without ComfyUI: held against what the oldest ComfyUI that we allow says of each node."""

import re
from itertools import combinations

import pytest

from tools.graphs import GRAPHS, NOTES, OBJECT_INFO, REPOSITORY, api_file, api_text, drawn, nodes, read, widgets
from tools.workflows import NEEDS, OLDEST

KNOWN = read(OBJECT_INFO)
PROJECT = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
PACK = tuple(re.search(rf'^{key} = "(.+)"', PROJECT, re.MULTILINE)[1] for key in ("name", "version"))
TITLE_BAR = 30  # px, above a node's position

# What a newcomer has not got yet, and the shipped value that the README tells where to get.
TO_COME = {
    "ckpt_name": "v1-5-pruned-emaonly-fp16.safetensors",
    "subject_file": ("loras/subject_00001_.safetensors", "loras/subject_klein_00001_.safetensors"),
    "image": "example.png",
    "folder": ("photos", "ages", "pictures"),
    "unet_name": ("flux-2-klein-base-4b-fp8.safetensors", "z_image_bf16.safetensors"),
    "clip_name": "qwen_3_4b.safetensors",
    "vae_name": ("flux2-vae.safetensors", "ae.safetensors"),
}
PERSONAL = re.compile(
    r"(?<![\w.])/(?:home|root|Users|tmp|work|mnt)/|[A-Za-z]:\\\\|file://|[\w.]+@[\w.]+\.\w+|127\.0\.0\.1"
)


@pytest.fixture(params=GRAPHS, ids=lambda path: path.stem)
def path(request):
    return request.param


@pytest.fixture
def graph(path):
    return read(path)


def test_there_are_eleven_and_each_is_as_it_is_drawn():
    assert sorted(REPOSITORY.glob("workflows/*.json")) == sorted(GRAPHS) and len(GRAPHS) == 11
    for path in GRAPHS:
        assert path.read_text(encoding="utf-8") == drawn(path.stem, KNOWN).text(), "run python -m tools.graphs"


def test_every_node_is_known_and_says_which_pack_it_needs(graph, path):
    for node in nodes(graph):
        assert node["type"] in KNOWN, node["type"]
        ours = node["type"].startswith("IDAging")
        expected = PACK if ours else ("comfy-core", NEEDS.get(path.stem, OLDEST))
        assert (node["properties"]["cnr_id"], node["properties"]["ver"]) == expected
        assert node["mode"] == 0
    notes = [node for node in graph["nodes"] if node["type"] in NOTES]
    assert len(notes) == 1 and len(notes[0]["widgets_values"][0].split("\n\n")) == 3


def test_every_link_joins_equal_types(graph):
    by_id = {node["id"]: node for node in graph["nodes"]}
    seen = set()
    for link, source, out, target, into, kind in graph["links"]:
        output, slot = by_id[source]["outputs"][out], by_id[target]["inputs"][into]
        known = KNOWN[by_id[source]["type"]]
        assert output["type"] == known["output"][out] == kind and output["name"] == known["output_name"][out]
        assert slot["type"] == "*" or kind in slot["type"].split(","), (link, kind, slot)
        assert slot["link"] == link and link in output["links"]
        seen.add(link)
    wired = [slot["link"] for node in graph["nodes"] for slot in node["inputs"] if slot["link"] is not None]
    assert sorted(wired) == sorted(seen)


def test_every_required_socket_is_wired(graph):
    for node in nodes(graph):
        slots = {slot["name"]: slot for slot in node["inputs"]}
        values = {name for name, _, _ in widgets(node, KNOWN[node["type"]])}
        for name in KNOWN[node["type"]]["input"]["required"]:
            assert name in values or slots[name]["link"] is not None, (node["type"], name)


def legal(name, value, options):
    kind = options["type"].split(",")[0]
    if kind == "COMBO":
        shipped = TO_COME.get(name, ())
        return value in options["options"] or value in ((shipped,) if isinstance(shipped, str) else shipped)
    if kind in ("INT", "FLOAT"):
        fits = isinstance(value, int if kind == "INT" else (int, float)) and not isinstance(value, bool)
        return fits and options["min"] <= value <= options["max"]
    return isinstance(value, bool if kind == "BOOLEAN" else str)


def test_every_widget_value_is_legal(graph):
    for node in nodes(graph):
        for name, value, options in widgets(node, KNOWN[node["type"]]):
            assert legal(name, value, options), (node["type"], name, value)


FOLDERS = {
    "CheckpointLoaderSimple": "checkpoints", "UNETLoader": "diffusion_models", "CLIPLoader": "text_encoders",
    "VAELoader": "vae", "IDAgingLoadFaceEmbedder": "facenet",
}  # fmt: skip


def test_the_models_that_a_loader_names_can_be_fetched(graph):
    for node in nodes(graph):
        name = next(iter(node["widgets_values"]), None)
        if node["type"] not in FOLDERS or (node["type"].startswith("IDAging") and not name.endswith(".pt")):
            assert "models" not in node["properties"]
            continue
        (model,) = node["properties"]["models"]
        assert model["name"] == name
        assert model["url"].startswith("https://") and model["url"].endswith("/" + model["name"])
        assert model["directory"] == FOLDERS[node["type"]]


def test_training_and_scoring_use_different_weights(graph):
    weights = {node["id"]: node["widgets_values"][0] for node in nodes(graph) if "FaceEmbedder" in node["type"]}
    by_id = {node["id"]: node["type"] for node in nodes(graph)}
    for _, source, _, target, _, _ in graph["links"]:
        if source in weights:
            to_train = weights[source] in ("20180402-114759-vggface2.pt", "drawn-loss")
            assert to_train == (by_id[target] == "IDAgingTrainSubject")


def test_every_node_of_ours_is_in_a_graph():
    used = {node["type"] for path in GRAPHS for node in nodes(read(path))}
    assert {name for name in KNOWN if name.startswith("IDAging")} <= used


def test_no_prompt_is_asked_for_an_age_that_it_does_not_say(graph):
    for node in nodes(graph):
        values = {name: value for name, value, _ in widgets(node, KNOWN[node["type"]])}
        assert "age" not in values or "{age}" in values["template"]


def test_nothing_personal(path):
    for file in (path, api_file(path), OBJECT_INFO):
        assert not PERSONAL.search(file.read_text(encoding="utf-8")), file


def test_the_api_copy_is_up_to_date(path):
    assert api_file(path).read_text(encoding="utf-8") == api_text(path), "run python -m tools.graphs"


def test_it_reads_from_left_to_right_and_row_by_row(graph):
    boxes = {node["id"]: (*node["pos"], *node["size"]) for node in graph["nodes"]}
    for link, source, _, target, _, _ in graph["links"]:
        (x, y, w, h), (u, v, _, _) = boxes[source], boxes[target]
        assert x + w < u or y + h < v, f"link {link} runs backwards"  # to the right, or into the next row
    for (one, (x, y, w, h)), (other, (u, v, s, t)) in combinations(boxes.items(), 2):
        apart = x + w <= u or u + s <= x or y + h <= v - TITLE_BAR or v + t <= y - TITLE_BAR
        assert apart, f"nodes {one} and {other} overlap"
    for node in nodes(graph):
        x, y, w, h = boxes[node["id"]]
        groups = [
            group["title"]
            for group in graph["groups"]
            for left, top, width, height in [group["bounding"]]
            if left < x and top < y - TITLE_BAR and x + w < left + width and y + h < top + height
        ]
        assert len(groups) == 1, f"node {node['id']} lies in {groups}"
    titles = [group["title"] for group in graph["groups"]]
    assert [title.split()[0] for title in titles] == [str(number) for number in range(1, len(titles) + 1)]


def test_it_fits_a_screen_at_a_zoom_at_which_text_is_drawn(graph):
    """The front end fills three quarters of the screen with a graph, and draws no text of 14 px below 8."""
    boxes = [(*item["pos"], *item["size"]) for item in graph["nodes"]] + [
        group["bounding"] for group in graph["groups"]
    ]
    left, top = min(x for x, *_ in boxes), min(y for _, y, *_ in boxes)
    right, bottom = max(x + w for x, _, w, _ in boxes), max(y + h for _, y, _, h in boxes)
    assert 0.75 * min(1920 / (right - left), 1080 / (bottom - top)) >= 8 / 14


def test_every_graph_has_a_thumbnail(path):
    from PIL import Image

    with Image.open(path.with_suffix(".jpg")) as picture:
        assert min(picture.size) >= 300
    assert path.with_suffix(".jpg").stat().st_size < 200_000

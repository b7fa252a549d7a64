"""What must hold in a shipped graph, checked without ComfyUI against the oldest version's node descriptions."""

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from itertools import combinations

from tools.graphs import NAMES, NOTES, nodes, tidied, widgets
from tools.nodeinfo import OBJECT_INFO, read

KNOWN = read(OBJECT_INFO)
TITLE_BAR = 30  # px, above a node's position
SCREEN, FILLED = (1920, 1080), 0.75  # px; the part of it that the front end fills with a graph when it opens one
ZOOM = 8 / 14  # the front end shows no text of 14 px below 8 px
TRAINS = ("20180402-114759-vggface2.pt", "drawn-loss")  # face embedders to train with; the others score
NOT_YET_THERE = {  # values that are not on a newcomer's lists until they follow the README, by input
    "ckpt_name": ("v1-5-pruned-emaonly-fp16.safetensors",),
    "subject_file": ("loras/subject_00001_.safetensors", "loras/subject_klein_00001_.safetensors"),
    "image": ("example.png",),
    "folder": ("photos", "ages", "pictures"),
    "unet_name": ("flux-2-klein-base-4b-fp8.safetensors", "z_image_bf16.safetensors"),
    "clip_name": ("qwen_3_4b.safetensors",),
    "vae_name": ("flux2-vae.safetensors", "ae.safetensors"),
}
FOLDERS = {
    "CheckpointLoaderSimple": "checkpoints", "UNETLoader": "diffusion_models", "CLIPLoader": "text_encoders",
    "VAELoader": "vae", "IDAgingLoadFaceEmbedder": "facenet",
}  # fmt: skip


def check(graph: dict, name: str) -> list[str]:
    """Everything that is wrong with a graph, one sentence each."""
    try:
        if tidied(graph, name, KNOWN) != graph:
            return ["it is not in the form kept here: run python -m tools.graphs"]
    except (ValueError, KeyError, IndexError) as error:
        return [f"it cannot be read: {error}"]
    rules = (_notes, _links, _values, _models, _placing, _screen)
    return [*_ids(graph, name), *(problem for rule in rules for problem in rule(graph))]


def _ids(graph: dict, name: str) -> Iterator[str]:
    """Each graph has its own hundred: ComfyUI shows a result on the node with its id, in whatever graph is open."""
    first = 100 * (NAMES.index(name) + 1)
    for kind, ids in (
        ("node", [node["id"] for node in graph["nodes"]]),
        ("link", [link[0] for link in graph["links"]]),
    ):
        for other in sorted(set(ids) - set(range(first, first + 100))):
            yield f"{kind} {other} needs a number from {first} to {first + 99}, which no other graph has"


def _notes(graph: dict) -> Iterator[str]:
    notes = [node for node in graph["nodes"] if node["type"] in NOTES]
    if len(notes) != 1 or len(notes[0]["widgets_values"][0].split("\n\n")) != 3:
        yield "it needs one note of three paragraphs"


def _links(graph: dict) -> Iterator[str]:
    by_id = {node["id"]: node for node in graph["nodes"]}
    for link, source, _, target, index, kind in graph["links"]:
        slot = by_id[target]["inputs"][index]
        if slot["type"] != "*" and kind not in slot["type"].split(","):
            yield f"link {link} connects {kind} to {slot['name']} of node {target}, which takes {slot['type']}"
        if by_id[source]["type"] == "IDAgingLoadFaceEmbedder":
            weights = by_id[source]["widgets_values"][0]
            if (weights in TRAINS) != (by_id[target]["type"] == "IDAgingTrainSubject"):
                yield f"node {target} must not get {weights}: one face embedder trains, another one scores"
    sources = {node_id: [link[1] for link in graph["links"] if link[3] == node_id] for node_id in by_id}
    try:
        TopologicalSorter(sources).prepare()
    except CycleError as error:
        yield f"nodes {error.args[1]} form a circle"
    for node in nodes(graph):
        required = KNOWN[node["type"]]["input"]["required"]
        for slot in node["inputs"]:
            if slot["name"] in required and "widget" not in slot and slot["link"] is None:
                yield f"input {slot['name']} of node {node['id']} is not connected"


def _values(graph: dict) -> Iterator[str]:
    for node in nodes(graph):
        if node["mode"] != 0:
            yield f"node {node['id']} is muted or bypassed"
        values = widgets(node, KNOWN[node["type"]])
        for name, (value, options) in values.items():
            if not _allowed(name, value, options):
                yield f"{name} of node {node['id']} cannot be {value!r}"
        if "age" in values and "{age}" not in values["template"][0]:
            yield f"the template of node {node['id']} leaves out its age"


def _allowed(name: str, value, options: dict) -> bool:
    kind = options["type"].split(",")[0]
    if kind == "COMBO":
        return value in options["options"] or value in NOT_YET_THERE.get(name, ())
    if kind in ("INT", "FLOAT"):
        number = isinstance(value, int if kind == "INT" else (int, float)) and not isinstance(value, bool)
        return number and options["min"] <= value <= options["max"]
    return isinstance(value, bool if kind == "BOOLEAN" else str)


def _models(graph: dict) -> Iterator[str]:
    """A loader's file must have a download address, so that the front end can offer it."""
    for node in nodes(graph):
        file, folder = next(iter(node["widgets_values"]), None), FOLDERS.get(node["type"])
        if folder == "facenet" and not file.endswith(".pt"):
            folder = None  # the node itself downloads the others
        models = [(model["name"], model["directory"]) for model in node["properties"].get("models", ())]
        if models != ([(file, folder)] if folder else []):
            yield f"node {node['id']} must list the model that it loads in its properties, and only that"
        for model in node["properties"].get("models", ()):
            if not model["url"].startswith("https://") or not model["url"].endswith("/" + model["name"]):
                yield f"{model['url']} is no address of {model['name']}"


def _boxes(graph: dict) -> dict[str, tuple[float, float, float, float]]:
    """Left, top, right and bottom per node, with its title bar, and per group."""
    corners = {f"node {node['id']}": (*node["pos"], *node["size"], TITLE_BAR) for node in graph["nodes"]}
    corners |= {f"group {group['title']}": (*group["bounding"], 0) for group in graph["groups"]}
    return {name: (x, y - bar, x + width, y + height) for name, (x, y, width, height, bar) in corners.items()}


def _placing(graph: dict) -> Iterator[str]:
    boxes = _boxes(graph)
    groups = [name for name in boxes if name.startswith("group")]
    inside = {name: [group for group in groups if _within(box, boxes[group])] for name, box in boxes.items()}
    for (one, (a, b, c, d)), (other, (e, f, g, h)) in combinations(boxes.items(), 2):
        if a < g and e < c and b < h and f < d and other not in inside[one] and one not in inside[other]:
            yield f"{one} and {other} overlap"
    for name in (f"node {node['id']}" for node in nodes(graph)):
        if len(inside[name]) != 1:
            yield f"{name} must lie in one group, but lies in {inside[name]}"
    for link, source, _, target, _, _ in graph["links"]:
        (_, _, right, bottom), (left, top, _, _) = boxes[f"node {source}"], boxes[f"node {target}"]
        if right >= left and bottom >= top + TITLE_BAR:
            yield f"link {link} runs to the left within its row"
    for number, group in enumerate(graph["groups"], 1):
        if group["title"].split()[0] != str(number):
            yield f"group {group['title']} needs the number {number}"


def _within(inner: tuple, outer: tuple) -> bool:
    return outer[0] < inner[0] and outer[1] < inner[1] and inner[2] < outer[2] and inner[3] < outer[3]


def _screen(graph: dict) -> Iterator[str]:
    left, top, right, bottom = zip(*_boxes(graph).values(), strict=True)
    sides = max(right) - min(left), max(bottom) - min(top)
    zoom = FILLED * min(screen / side for screen, side in zip(SCREEN, sides, strict=True))
    if zoom < ZOOM:
        yield f"it opens at a zoom of {zoom:.2f} on a screen of 1920 x 1080; text shows from {ZOOM:.2f}"

"""Keeps workflows/*.json, graphs edited in ComfyUI, in one form, and writes their API copies in workflows/api/.

usage: python -m tools.graphs            tidies every graph, writes its API copy and lists what tools/lint.py finds;
                                         needs no ComfyUI
       python -m tools.graphs COMFYUI    first refreshes object_info.json from the ComfyUI in that folder
"""

import json
import math
import re
import sys
import tempfile
from pathlib import Path

from tools.nodeinfo import OBJECT_INFO, OURS, frontend_widget, inputs_of, is_widget, joined, least_height, read, store

REPOSITORY = Path(__file__).parent.parent
NAMES = (  # the graphs that train come first: others load what they save
    "train_subject", "try_it_here", "train_klein", "train_z_image", "aging_sequence", "aging_video",
    "age_existing_photo", "age_by_edit", "compare_roads", "score_identity", "make_regularization_set",
)  # fmt: skip
GRAPHS = [REPOSITORY / "workflows" / f"{name}.json" for name in NAMES]
# The ComfyUI version that a graph needs if the oldest supported one has not all of its nodes or models.
NEEDS = dict.fromkeys(("train_klein", "train_z_image", "age_by_edit", "compare_roads"), "0.33.0")
NOTES = {"MarkdownNote"}  # nodes of the front end alone
NODE_KEYS = (
    "id", "type", "pos", "size", "flags", "order", "mode", "inputs", "outputs", "title", "properties",
    "widgets_values", "color", "bgcolor",
)  # fmt: skip


def api_file(graph: Path) -> Path:
    return graph.parent / "api" / graph.name


def nodes(graph: dict) -> list[dict]:
    """The nodes that the server knows."""
    return [node for node in graph["nodes"] if node["type"] not in NOTES]


def project(key: str) -> str:
    """A value of pyproject.toml, without ">="."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    return re.search(rf'^{key} = "(?:>=)?(.+)"', text, re.MULTILINE)[1]


def saved_values(node: dict, info: dict) -> dict[str, object]:
    """Values by widget name, including the front end's own widgets; widgets added since have their default.

    Raises ValueError if a value has no widget.
    """
    values = {}
    for name, (kind, options) in inputs_of(info).items():
        if is_widget(kind, options):
            values |= {name: options.get("default")} | frontend_widget(options)
    if named := node.get("widgets_values_named"):  # written by newer front ends, which may have more widgets
        return values | {name: value for name, value in named.items() if name in values}
    given = node.get("widgets_values") or []
    if len(given) > len(values):
        raise ValueError(
            f"node {node['id']} ({node['type']}) has widget values without a widget: {given[len(values) :]}"
        )
    return values | dict(zip(values, given, strict=False))


def widgets(node: dict, info: dict) -> dict[str, tuple[object, dict]]:
    """Value and options per widget that the server knows; the options include the widget's type."""
    values, inputs = saved_values(node, info), inputs_of(info)
    return {
        name: (value, {"type": inputs[name][0]} | inputs[name][1]) for name, value in values.items() if name in inputs
    }


def api(graph: dict, object_info: dict) -> dict[str, dict]:
    """The graph in ComfyUI's API format, as the front end exports it."""
    links = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    exported = {}
    for node in nodes(graph):
        info = object_info[node["type"]]
        inputs = {name: value for name, (value, _) in widgets(node, info).items()}
        inputs |= {slot["name"]: links[slot["link"]] for slot in node["inputs"] if slot["link"] is not None}
        title = node.get("title") or info["display_name"] or node["type"]
        exported[str(node["id"])] = {"inputs": inputs, "class_type": node["type"], "_meta": {"title": title}}
    return exported


def api_text(graph: dict) -> str:
    return json.dumps(api(graph, read(OBJECT_INFO)), indent=2, ensure_ascii=False) + "\n"


def changed(api: dict[str, dict], changes: dict[str, dict]) -> dict[str, dict]:
    """The API copy with other inputs, by node type. A dict in place of a value maps old values to new ones."""

    def put(inputs: dict, others: dict) -> dict:
        return inputs | {
            name: value.get(inputs[name], inputs[name]) if isinstance(value, dict) else value
            for name, value in others.items()
        }

    return {
        node_id: node | {"inputs": put(node["inputs"], changes.get(node["class_type"], {}))}
        for node_id, node in api.items()
    }


def tidied(graph: dict, name: str, object_info: dict) -> dict:
    """A graph as ComfyUI saved it, in the form kept in workflows/.

    Slots, link types and widget values follow object_info; positions are whole pixels; nodes are tall enough for both
    renderers; the view and other state of the front end is dropped. Raises ValueError for a node type, a connected
    input or a widget value that object_info does not have.
    """
    source_of = {link: (node_id, slot) for link, node_id, slot, *_ in graph["links"]}
    saved = []
    for order, node in enumerate(graph["nodes"]):
        node = node | {"order": order, "pos": [*map(round, node["pos"])], "size": [*map(math.ceil, node["size"])]}
        node |= {"properties": {}} if node["type"] in NOTES else _as_described(node, name, object_info)
        saved.append({key: node[key] for key in NODE_KEYS if key in node})
    by_id = {node["id"]: node for node in saved}
    links = []
    for node in saved:
        for index, slot in enumerate(node["inputs"]):
            if (link := slot["link"]) is not None:
                source, output = source_of[link]
                sent = by_id[source]["outputs"][output]
                sent["links"] = sorted([*(sent["links"] or ()), link])
                links.append([link, source, output, node["id"], index, sent["type"]])
    groups = [
        {"id": number, "title": group["title"], "bounding": [*map(round, group["bounding"])]}
        | {"color": group["color"], "font_size": 24, "flags": {}}
        for number, group in enumerate(graph["groups"], 1)
    ]
    last = {"last_node_id": max(by_id), "last_link_id": max(source_of, default=0)}
    view = {"config": {}, "extra": {}, "version": 0.4}
    return {"id": graph["id"], "revision": 0} | last | {"nodes": saved, "links": sorted(links), "groups": groups} | view


def _as_described(node: dict, graph: str, object_info: dict) -> dict:
    """The parts of a saved node that follow from object_info; the links of its outputs are still missing."""
    if node["type"] not in object_info:
        raise ValueError(f"node {node['id']} has the unknown type {node['type']}")
    info = object_info[node["type"]]
    known = inputs_of(info)
    values = saved_values(node, info)
    link_of = {slot["name"]: slot["link"] for slot in node["inputs"] if slot["link"] is not None}
    if unknown := link_of.keys() - known.keys():
        raise ValueError(f"node {node['id']} ({node['type']}) has no input {', '.join(sorted(unknown))}")
    inputs = []
    for name in sorted(known, key=lambda name: name in values):  # the front end lists sockets before widgets
        kind, options = known[name]
        shown = {"widget": {"name": name}} if name in values else {"shape": 7} if options["optional"] else {}
        inputs.append({"name": name, "type": kind} | shown | {"link": link_of.get(name)})
    outputs = [
        {"name": name} | ({"shape": 6} if is_list else {}) | {"type": kind, "links": None}
        for name, kind, is_list in zip(info["output_name"], info["output"], info["output_is_list"], strict=True)
    ]
    ours = node["type"].startswith(OURS)
    pack = project("name") if ours else "comfy-core"
    version = project("version") if ours else NEEDS.get(graph, project("requires-comfyui"))
    properties = {"cnr_id": pack, "ver": version, "Node name for S&R": node["type"]}
    if "models" in node["properties"]:
        properties["models"] = node["properties"]["models"]
    floats = {name for name in values if name in known and known[name][0] == "FLOAT"}  # JavaScript saves 1.0 as 1
    saved = [float(value) if name in floats and type(value) is int else value for name, value in values.items()]
    size = [node["size"][0], max(node["size"][1], least_height(node["type"], info))]
    described = {"size": size, "inputs": inputs, "outputs": outputs}
    return described | {"properties": properties, "widgets_values": saved}


def graph_text(graph: dict) -> str:
    """JSON with one line per node, link and group."""
    parts = []
    for name, value in graph.items():
        if name in ("nodes", "links", "groups"):
            lines = ",\n    ".join(json.dumps(item, ensure_ascii=False) for item in value)
            parts.append(f"{json.dumps(name)}: [\n    {lines}\n  ]")
        else:
            parts.append(f"{json.dumps(name)}: {json.dumps(value)}")
    return "{\n  " + ",\n  ".join(parts) + "\n}\n"


def refresh(comfyui: Path) -> None:
    """Stores a ComfyUI's descriptions of the nodes in the graphs and of all nodes of this pack."""
    from tools.server import Server

    with tempfile.TemporaryDirectory() as folder:
        base = Path(folder)
        (base / "custom_nodes").mkdir()
        (base / "custom_nodes" / REPOSITORY.name).symlink_to(REPOSITORY)
        server = Server(comfyui / ".venv" / "bin" / "python", comfyui, base)
        try:
            answer = server.get("/object_info")
        finally:
            server.stop()
    store(joined(answer), {node["type"] for path in GRAPHS for node in nodes(read(path))})


def main() -> int:
    """Returns the exit status, 1 if a graph has problems."""
    from tools.lint import check

    if len(sys.argv) > 1:
        refresh(Path(sys.argv[1]))
    problems = []
    for path in GRAPHS:
        graph = tidied(read(path), path.stem, read(OBJECT_INFO))
        path.write_text(graph_text(graph), encoding="utf-8")
        api_file(path).write_text(api_text(graph), encoding="utf-8")
        problems += [f"{path.stem}: {problem}" for problem in check(graph, path.stem)]
    for problem in problems:
        print(problem)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())

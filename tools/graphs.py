"""Writes the graphs of workflows/, with nothing but a stored answer of ComfyUI's /object_info.

usage: python -m tools.graphs            writes workflows/*.json, as tools/workflows/ draws them, and their copies in
                                         workflows/api/ for scripts
       python -m tools.graphs COMFYUI    asks the ComfyUI in that folder for a new object_info.json first
"""

import json
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tools.canvas import Canvas
from tools.nodeinfo import OBJECT_INFO, inputs_of, is_widget, joined, read, second_value, store
from tools.workflows import DRAWN, NEEDS, OLDEST

REPOSITORY = Path(__file__).parent.parent
FOLDER = REPOSITORY / "workflows"
GRAPHS = [FOLDER / f"{name}.json" for name in DRAWN]  # first those that train what the others draw
NOTES = {"MarkdownNote"}  # nodes that only the front end knows


def api_file(graph: Path) -> Path:
    return graph.parent / "api" / graph.name


def nodes(graph: dict) -> list[dict]:
    return [node for node in graph["nodes"] if node["type"] not in NOTES]


def widgets(node: dict, info: dict) -> Iterator[tuple[str, object, dict]]:
    """Name, value and options of every widget; one that came after the graph has its default, as in the front end."""
    values = iter(node["widgets_values"])
    for name, (kind, options) in inputs_of(info).items():
        if is_widget(kind, options):
            yield name, next(values, options.get("default")), {"type": kind} | options
            for _ in second_value(options):
                next(values)
    left = list(values)
    if left:
        raise ValueError(f"node {node['id']} has more widget values than widgets: {left}")


def api(graph: dict, object_info: dict) -> dict[str, dict]:
    """The graph in ComfyUI's API format, as the front end exports it."""
    links = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    exported = {}
    for node in sorted(nodes(graph), key=lambda node: node["order"]):
        info = object_info[node["type"]]
        inputs = {name: value for name, value, _ in widgets(node, info)}
        inputs |= {slot["name"]: links[slot["link"]] for slot in node["inputs"] if slot["link"] is not None}
        title = node.get("title") or info["display_name"] or node["type"]
        exported[str(node["id"])] = {"inputs": inputs, "class_type": node["type"], "_meta": {"title": title}}
    return exported


def api_text(graph: Path) -> str:
    return json.dumps(api(read(graph), read(OBJECT_INFO)), indent=2, ensure_ascii=False) + "\n"


def changed(api: dict[str, dict], changes: dict[str, dict]) -> dict[str, dict]:
    """The API copy with other inputs, by the type of their node; a dict among them has a new value for each old one."""

    def put(inputs: dict, others: dict) -> dict:
        return inputs | {
            name: value.get(inputs[name], inputs[name]) if isinstance(value, dict) else value
            for name, value in others.items()
        }

    return {
        node_id: node | {"inputs": put(node["inputs"], changes.get(node["class_type"], {}))}
        for node_id, node in api.items()
    }


def pack() -> tuple[str, str]:
    """This pack's name and version."""
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    name, version = (re.search(rf'^{key} = "(.+)"', project, re.MULTILINE)[1] for key in ("name", "version"))
    return name, version


def drawn(name: str, known: dict) -> Canvas:
    """One of the graphs, on its canvas."""
    canvas = Canvas(name, known, pack(), NEEDS.get(name, OLDEST))
    canvas.lay(DRAWN[name](canvas))
    return canvas


def refresh(comfyui: Path) -> None:
    """Asks a ComfyUI for the nodes that the graphs use, and for all of ours."""
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
    known = joined(answer)
    store(known, {node.type for name in DRAWN for node in drawn(name, known).nodes})


if __name__ == "__main__":
    if len(sys.argv) > 1:
        refresh(Path(sys.argv[1]))
    for path in GRAPHS:
        path.write_text(drawn(path.stem, read(OBJECT_INFO)).text(), encoding="utf-8")
        api_file(path).write_text(api_text(path), encoding="utf-8")

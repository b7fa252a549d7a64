"""The graphs of workflows/, read with nothing but a stored answer of ComfyUI's /object_info.

usage: python -m tools.graphs            writes workflows/api/*.json, for scripts, from the graphs
       python -m tools.graphs COMFYUI    asks the ComfyUI in that folder for a new object_info.json first

Take the oldest ComfyUI that pyproject.toml allows: what it knows, newer ones know too.
"""

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent
GRAPHS = sorted((REPOSITORY / "workflows").glob("*.json"))
AFTER_TRAINING = sorted(GRAPHS, key=lambda path: path.stem != "train_subject")  # the others need its subject
OBJECT_INFO = Path(__file__).parent / "object_info.json"
NOTES = {"MarkdownNote"}  # nodes that only the front end knows
WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def api_file(graph: Path) -> Path:
    return graph.parent / "api" / graph.name


def nodes(graph: dict) -> list[dict]:
    return [node for node in graph["nodes"] if node["type"] not in NOTES]


def inputs_of(info: dict) -> dict[str, tuple[str, dict]]:
    """Type and options of every input of a node, in the order of its widgets."""
    listed = {}
    for part in ("required", "optional"):
        for name in info["input_order"].get(part, ()):
            kind, *options = info["input"][part][name]
            options = options[0] if options else {}
            listed[name] = ("COMBO", {"options": kind} | options) if isinstance(kind, list) else (kind, options)
    return listed


def is_widget(kind: str, options: dict) -> bool:
    return kind.split(",")[0] in WIDGET_TYPES and not options.get("forceInput")


def widgets(node: dict, info: dict) -> Iterator[tuple[str, object, dict]]:
    """Name, value and options of every widget; a seed and an upload have a second one, which the server never sees.

    A widget that came after the graph has its default, as in the front end.
    """
    values = iter(node["widgets_values"])
    for name, (kind, options) in inputs_of(info).items():
        if is_widget(kind, options):
            yield name, next(values, options.get("default")), {"type": kind} | options
            if options.get("control_after_generate") or options.get("image_upload"):
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
    """The API copy with other inputs, by the type of their node."""
    return {
        node_id: node | {"inputs": node["inputs"] | changes.get(node["class_type"], {})}
        for node_id, node in api.items()
    }


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
    used = {node["type"] for path in GRAPHS for node in nodes(read(path))}
    kept = {name: answer[name] for name in sorted(answer) if name in used or name.startswith("IDAging")}
    for node in kept.values():
        node.pop("python_module")  # the folder's name, any will do
    OBJECT_INFO.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        refresh(Path(sys.argv[1]))
    for path in GRAPHS:
        api_file(path).parent.mkdir(exist_ok=True)
        api_file(path).write_text(api_text(path), encoding="utf-8")

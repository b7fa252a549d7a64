"""Reads ComfyUI's node descriptions, its answer at /object_info, stored in object_info.json.

This pack's nodes are stored as in the newest answer. ComfyUI's own nodes are stored as in the oldest ComfyUI that
pyproject.toml allows, if it has them, because newer versions accept the same inputs.
"""

import json
from pathlib import Path

OBJECT_INFO = Path(__file__).parent / "object_info.json"
WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
OURS = "IDAging"

# px, of a node: a socket, a field of several lines, a widget on the canvas and in Nodes 2.0; and below the fields of
# Nodes 2.0 the button for advanced ones and the pack's badge.
SOCKET, TEXT, WIDGET, MODERN_WIDGET, MORE, BADGE = 20, 72, 24, 28, 28, 24
SHOWN = {  # px, what a node shows below its widgets, or more sockets and widgets in newer ComfyUIs
    "LoadImage": 235, "PreviewImage": 230, "SaveImage": 180, "SaveVideo": 230, "PreviewAny": 160, "CreateVideo": 30,
    "ImageBatch": 24, "IDAgingTrainSubject": 440, "IDAgingLoadPhotos": 252, "IDAgingDrawnWorld": 280,
    "IDAgingScoreIdentity": 70, "IDAgingSaveSubject": 60,
}  # fmt: skip


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def inputs_of(info: dict) -> dict[str, tuple[str, dict]]:
    """Type and options per input of a node, in the order of its widgets."""
    inputs = {}
    for part in ("required", "optional"):
        for name in info["input_order"].get(part, ()):
            kind, *options = info["input"][part][name]
            options = {"optional": part == "optional"} | (options[0] if options else {})
            inputs[name] = ("COMBO", {"options": kind} | options) if isinstance(kind, list) else (kind, options)
    return inputs


def is_widget(kind: str, options: dict) -> bool:
    return kind.split(",")[0] in WIDGET_TYPES and not options.get("forceInput")


def frontend_widget(options: dict) -> dict[str, str]:
    """Name and default of the widget that the front end adds after a seed or an upload; it never reaches the server."""
    if options.get("control_after_generate"):
        return {"control_after_generate": "fixed"}
    return {"upload": "image"} if options.get("image_upload") else {}


def least_height(node_type: str, info: dict) -> int:
    """How tall a node must be, in px, to show all of it both on the canvas and in Nodes 2.0.

    Advanced fields are folded in Nodes 2.0; on the canvas web/identity_aging.js folds only this pack's.
    """
    inputs, ours = inputs_of(info), node_type.startswith(OURS)
    widgets = [options for kind, options in inputs.values() if is_widget(kind, options)]
    folded = [options for options in widgets if not options.get("advanced")]

    def stacked(fields: list[dict], field: int) -> int:
        return sum(TEXT if options.get("multiline") else field for options in fields)

    classic = stacked(folded if ours else widgets, WIDGET) + WIDGET * sum(map(bool, map(frontend_widget, widgets)))
    modern = stacked(folded, MODERN_WIDGET) + MORE * (len(folded) < len(widgets)) + BADGE * ours
    sockets = max(len(inputs) - len(widgets), len(info["output_name"])) * SOCKET + 14
    return sockets + max(classic, modern) + SHOWN.get(node_type, 0)


def joined(answer: dict) -> dict:
    """A new answer, with the stored descriptions of ComfyUI's own nodes."""
    return answer | {name: info for name, info in read(OBJECT_INFO).items() if not name.startswith(OURS)}


def store(object_info: dict, used: set[str]) -> None:
    """Stores the descriptions of this pack's nodes and of the node types in ``used``."""
    kept = {name: dict(object_info[name]) for name in sorted(object_info) if name in used or name.startswith(OURS)}
    for info in kept.values():
        info.pop("python_module", None)  # the name of the pack's folder, which can be any
    OBJECT_INFO.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

"""What a ComfyUI says of its nodes at /object_info, kept in object_info.json.

Of our nodes the newest answer is kept; of ComfyUI's own, that of the oldest that pyproject.toml allows, where it knows
the node: what it knows, newer ones know too.
"""

import json
from pathlib import Path

OBJECT_INFO = Path(__file__).parent / "object_info.json"
WIDGET_TYPES = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
OURS = "IDAging"


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def inputs_of(info: dict) -> dict[str, tuple[str, dict]]:
    """Type and options of every input of a node, in the order of its widgets."""
    listed = {}
    for part in ("required", "optional"):
        for name in info["input_order"].get(part, ()):
            kind, *options = info["input"][part][name]
            options = {"optional": part == "optional"} | (options[0] if options else {})
            listed[name] = ("COMBO", {"options": kind} | options) if isinstance(kind, list) else (kind, options)
    return listed


def is_widget(kind: str, options: dict) -> bool:
    return kind.split(",")[0] in WIDGET_TYPES and not options.get("forceInput")


def second_value(options: dict) -> list:
    """What stands behind a widget's value in a saved graph and never reaches the server: of a seed and an upload."""
    if options.get("control_after_generate"):
        return ["fixed"]
    return ["image"] if options.get("image_upload") else []


def joined(answer: dict) -> dict:
    """A new answer, with the stored one's word on ComfyUI's own nodes."""
    return answer | {name: info for name, info in read(OBJECT_INFO).items() if not name.startswith(OURS)}


def store(known: dict, used: set[str]) -> None:
    """Keeps what is known of our nodes and of those of ``used``."""
    kept = {name: dict(known[name]) for name in sorted(known) if name in used or name.startswith(OURS)}
    for info in kept.values():
        info.pop("python_module", None)  # the folder's name, any will do
    OBJECT_INFO.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

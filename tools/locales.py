"""Writes the English texts of the pack's nodes for ComfyUI's translations in locales/.

usage: python -m tools.locales    writes locales/en/nodeDefs.json from object_info.json; the other languages are
                                  translated by hand
"""

import json

from tools.graphs import REPOSITORY
from tools.nodeinfo import OBJECT_INFO, inputs_of, read

LANGUAGES = ("en", "zh", "ja")


def file(language: str):
    return REPOSITORY / "locales" / language / "nodeDefs.json"


def english(object_info: dict) -> dict[str, dict]:
    """Display name, description, inputs and outputs per node of the pack, from the nodes' schemas."""
    nodes = {}
    for node_id, info in object_info.items():
        if not node_id.startswith("IDAging"):
            continue
        inputs = {
            name: {"name": options.get("display_name") or name, "tooltip": options["tooltip"]}
            for name, (_, options) in inputs_of(info).items()
        }
        outputs = {}
        for number, (name, tooltip) in enumerate(zip(info["output_name"], info["output_tooltips"], strict=True)):
            outputs[str(number)] = {"name": name} | ({"tooltip": tooltip} if tooltip else {})
        nodes[node_id] = {
            "display_name": info["display_name"],
            "description": info["description"],
            "inputs": inputs,
            "outputs": outputs,
        }
    return nodes


def write(language: str, nodes: dict) -> None:
    file(language).parent.mkdir(parents=True, exist_ok=True)
    file(language).write_text(json.dumps(nodes, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write("en", english(read(OBJECT_INFO)))

"""Queues a graph of workflows/api on a running ComfyUI and fetches its pictures. Nothing but Python is needed.

usage: python queue_workflow.py GRAPH.json [INPUT=VALUE ...]       python queue_workflow.py aging_sequence.json seed=11
"""

import json
import os
import sys
import time
import urllib.parse
import urllib.request
from pathlib import Path

SERVER = os.environ.get("COMFYUI", "http://127.0.0.1:8188")


def ask(path, body=None):
    """What the server answers; with ``body``, to that as JSON."""
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(urllib.request.Request(SERVER + path, data)) as answer:
        return answer.read()


graph = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
for name, value in (change.split("=", 1) for change in sys.argv[2:]):
    for node in graph.values():
        old = node["inputs"].get(name)
        if old is not None and not isinstance(old, list):  # a list is a link
            node["inputs"][name] = type(old)(value)

job = json.loads(ask("/prompt", {"prompt": graph}))["prompt_id"]
while not (history := json.loads(ask(f"/history/{job}"))):
    time.sleep(1)
print(history[job]["status"]["status_str"])
for output in history[job]["outputs"].values():
    for picture in output.get("images", []):
        Path(picture["filename"]).write_bytes(ask("/view?" + urllib.parse.urlencode(picture)))
        print(picture["filename"])

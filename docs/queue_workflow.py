"""Queues a graph from workflows/api on running ComfyUI servers and saves its images. Needs only Python.

usage: python queue_workflow.py GRAPH.json [[NODE.]INPUT=VALUE ...] [--each NAME ...]

    python queue_workflow.py aging_sequence.json seed=11
    python queue_workflow.py train_subject.json IDAgingLoadPhotos.folder={each} name={each} --each anna bert cleo

NODE is a node's class; without it, every node with such an input is changed. With --each, the graph is queued once per
name, and {each} is replaced by the name. COMFYUI holds the server's address, or several separated by commas: each
server takes the next name when it is free, and the name of a lost server goes to another.
"""

import json
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SERVERS = os.environ.get("COMFYUI", "http://127.0.0.1:8188").split(",")


class Failed(Exception):
    """A graph that did not finish. The message is the node's own."""


def ask(server, path, body=None):
    """Returns the server's answer as bytes. ``body``, if given, is posted as JSON."""
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(urllib.request.Request(server + path, data), timeout=60) as response:
        return response.read()


def changed(graph, changes):
    """Returns a copy of the graph with ``changes`` applied to every node that has the input.

    Raises Failed if no node has it, or if the value has the wrong type.
    """
    graph = json.loads(json.dumps(graph))
    for target, value in (change.split("=", 1) for change in changes):
        node_class, _, name = target.rpartition(".")
        candidates = [node["inputs"] for node in graph.values() if node_class in ("", node["class_type"])]
        matches = [inputs for inputs in candidates if not isinstance(inputs.get(name, []), list)]  # a list is a link
        if not matches:
            raise Failed(f"No node has an input {target}.")
        for inputs in matches:
            try:
                inputs[name] = value if isinstance(inputs[name], str) else json.loads(value.lower())
            except ValueError:
                raise Failed(f"{target} is {value}, but must be a number, true or false.") from None
    return graph


def run(server, graph, prefix):
    """Queues the graph, waits until it finishes and saves its images here, with ``prefix`` before their names.

    Raises Failed if the graph fails or is interrupted.
    """
    job = json.loads(ask(server, "/prompt", {"prompt": graph}))["prompt_id"]
    while not (history := json.loads(ask(server, f"/history/{job}"))):
        time.sleep(1)
    status = history[job]["status"]
    print(prefix + status["status_str"], "on", server, flush=True)
    for output in history[job]["outputs"].values():
        for image in output.get("images", []):
            file = prefix + Path(image["filename"]).name
            Path(file).write_bytes(ask(server, "/view?" + urllib.parse.urlencode(image)))
            print(file, flush=True)
    if status["status_str"] != "success":
        errors = [data["exception_message"] for event, data in status["messages"] if event == "execution_error"]
        raise Failed(errors[0].strip() if errors else "It was interrupted.")


def serve(server):
    """Runs one name after another on the server, until no name is left or the server is lost."""
    while waiting:
        name = waiting.pop(0)
        label = name or "the graph"
        try:
            run(server, changed(graph, [change.replace("{each}", name) for change in changes]), name and f"{name}_")
        except Failed as error:
            failed.append(f"{label}: {error}")
        except urllib.error.HTTPError as error:  # the body says what is wrong with the graph
            failed.append(f"{label}: {error.read().decode()}")
        except OSError as error:
            waiting.append(name)
            print(f"{server} is lost ({error})", file=sys.stderr)
            return


graph = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
split = sys.argv.index("--each") if "--each" in sys.argv else len(sys.argv)
changes, waiting, failed = sys.argv[2:split], sys.argv[split + 1 :] or [""], []
with ThreadPoolExecutor(len(SERVERS)) as pool:
    list(pool.map(serve, SERVERS))
sys.exit("\n".join(failed + [f"{name or 'the graph'}: No server is left." for name in waiting]) or 0)

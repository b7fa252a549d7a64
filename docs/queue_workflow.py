"""Queues a graph of workflows/api on running ComfyUIs and fetches its pictures. Nothing but Python is needed.

usage: python queue_workflow.py GRAPH.json [[NODE.]INPUT=VALUE ...] [--each NAME ...]

    python queue_workflow.py aging_sequence.json seed=11
    python queue_workflow.py train_subject.json IDAgingLoadPhotos.folder={each} name={each} --each anna bert cleo

NODE is a node's class; without it every node with such an input is changed. With --each the graph is queued once for
each name, which takes the place of {each}. COMFYUI may name several servers, with commas between them: each takes the
next name when it is free, and what a lost one was at goes to another.
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
    """A graph that did not run to its end; the message is its node's."""


def ask(server, path, body=None):
    """What the server answers; with ``body``, to that as JSON."""
    data = json.dumps(body).encode() if body else None
    with urllib.request.urlopen(urllib.request.Request(server + path, data), timeout=60) as answer:
        return answer.read()


def changed(graph, changes):
    """A copy of the graph with each of ``changes`` made in the nodes that have such an input.

    Raises Failed where none has it, and for a value of another kind.
    """
    graph = json.loads(json.dumps(graph))
    for target, value in (change.split("=", 1) for change in changes):
        kind, _, name = target.rpartition(".")
        having = [node["inputs"] for node in graph.values() if kind in ("", node["class_type"])]
        having = [inputs for inputs in having if not isinstance(inputs.get(name, []), list)]  # a list is a link
        if not having:
            raise Failed(f"no node has an input {target}")
        for inputs in having:
            try:
                inputs[name] = value if isinstance(inputs[name], str) else json.loads(value.lower())
            except ValueError:
                raise Failed(f"{target} is {value}; it must be a number, true or false") from None
    return graph


def run(server, graph, prefix):
    """Queues the graph and waits for its end; its pictures are saved here, ``prefix`` before their names.

    Raises Failed.
    """
    job = json.loads(ask(server, "/prompt", {"prompt": graph}))["prompt_id"]
    while not (history := json.loads(ask(server, f"/history/{job}"))):
        time.sleep(1)
    status = history[job]["status"]
    print(prefix + status["status_str"], "on", server, flush=True)
    for output in history[job]["outputs"].values():
        for picture in output.get("images", []):
            file = prefix + Path(picture["filename"]).name
            Path(file).write_bytes(ask(server, "/view?" + urllib.parse.urlencode(picture)))
            print(file, flush=True)
    if status["status_str"] != "success":
        said = [about["exception_message"] for kind, about in status["messages"] if kind == "execution_error"]
        raise Failed(said[0].strip() if said else "it was interrupted")


def serve(server):
    """Has the server take name after name, until there is none or the server is lost."""
    while waiting:
        name = waiting.pop(0)
        whose = name or "the graph"
        try:
            run(server, changed(graph, [change.replace("{each}", name) for change in changes]), name and f"{name}_")
        except Failed as error:
            failed.append(f"{whose}: {error}")
        except urllib.error.HTTPError as error:  # it says what is wrong with the graph
            failed.append(f"{whose}: {error.read().decode()}")
        except OSError as error:
            waiting.append(name)
            print(f"{server} is lost ({error})", file=sys.stderr)
            return


graph = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
split = sys.argv.index("--each") if "--each" in sys.argv else len(sys.argv)
changes, waiting, failed = sys.argv[2:split], sys.argv[split + 1 :] or [""], []
with ThreadPoolExecutor(len(SERVERS)) as pool:
    list(pool.map(serve, SERVERS))
sys.exit("\n".join(failed + [f"{name or 'the graph'}: no server is left" for name in waiting]) or 0)

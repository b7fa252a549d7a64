"""docs/queue_workflow.py against a fake ComfyUI server that records the graphs it receives."""

import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tools.graphs import REPOSITORY

GRAPH = {
    "1": {"class_type": "KSampler", "inputs": {"seed": 7, "cfg": 7.5, "add_noise": True, "model": ["2", 0]}},
    "2": {"class_type": "Loader", "inputs": {"name": "a", "seed": 7}},
}


@pytest.fixture
def queue(tmp_path):
    """Returns a function that queues GRAPH with changes and returns the finished process and the received graphs."""
    received = []

    class ComfyUI(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["prompt"])
            self.answer({"prompt_id": "1"})

        def do_GET(self):
            image = {"filename": "../../sheet.png", "subfolder": "", "type": "output"}
            done = {"status": {"status_str": "success", "messages": []}, "outputs": {"3": {"images": [image]}}}
            self.answer({"1": done} if "history" in self.path else {})

        def answer(self, body):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), ComfyUI)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (tmp_path / "graph.json").write_text(json.dumps(GRAPH))

    def run(*changes):
        command = [sys.executable, REPOSITORY / "docs/queue_workflow.py", tmp_path / "graph.json", *changes]
        environment = os.environ | {"COMFYUI": f"http://127.0.0.1:{server.server_port}"}
        (tmp_path / "here").mkdir()
        return subprocess.run(command, env=environment, cwd=tmp_path / "here", capture_output=True, text=True), received

    yield run
    server.shutdown()


def test_changed_inputs_keep_their_types_and_images_are_saved_in_the_current_folder(queue, tmp_path):
    done, (graph,) = queue("seed=11", "KSampler.cfg=6", "add_noise=False", "name=7")
    assert done.returncode == 0, done.stderr
    assert graph["1"]["inputs"] == {"seed": 11, "cfg": 6, "add_noise": False, "model": ["2", 0]}
    assert graph["2"]["inputs"] == {"seed": 11, "name": "7"}
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["sheet.png"]


@pytest.mark.parametrize(
    ("change", "values"),
    [
        ("sead=11", ["sead"]),
        ("model=other", ["model"]),
        ("Loader.cfg=6", ["Loader.cfg"]),
        ("add_noise=off", ["add_noise", "off"]),
    ],
)
def test_an_unknown_input_or_a_wrong_value_is_an_error_and_nothing_is_queued(queue, change, values):
    done, received = queue(change)
    assert done.returncode == 1 and "Traceback" not in done.stderr and not received
    assert all(value in done.stderr for value in values)

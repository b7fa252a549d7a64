"""A real ComfyUI server with this pack linked in, spoken to as the front end does."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass, field
from pathlib import Path

import websocket

START, RUN = 180, 600  # s, longest waits


class Graph(dict):
    """A graph in ComfyUI's API format. ``add`` returns the node's id; (id, n) is its n-th output."""

    def add(self, class_type: str, **inputs) -> str:
        node = str(len(self) + 1)
        self[node] = {
            "class_type": class_type,
            "inputs": {name: list(value) if isinstance(value, tuple) else value for name, value in inputs.items()},
        }
        return node


@dataclass
class Outcome:
    """What one queued graph did."""

    status: str = "running"  # success, error or interrupted
    executed: list[str] = field(default_factory=list)  # node ids in their order
    outputs: dict[str, dict] = field(default_factory=dict)  # ui outputs by node id
    error: dict = field(default_factory=dict)
    progress: list[tuple[str, int, int]] = field(default_factory=list)  # node id, value, max
    pictures: list[bytes] = field(default_factory=list)  # previews, as they came
    texts: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)  # of our nodes, for the screen


class Refused(Exception):
    """The server refused a graph before running it; the message is its answer."""


class Server:
    """Starts on a free loopback port; ``stop`` and ``kill`` end it by its process id."""

    def __init__(self, python: Path, comfyui: Path, base: Path):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.base, self.log = base, base / f"server-{self.port}.log"
        options = ["--cpu", "--listen", "127.0.0.1", "--port", str(self.port), "--base-directory", str(base)]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [python, comfyui / "main.py", *options], cwd=comfyui, stdout=log, stderr=subprocess.STDOUT
            )
        self.client = uuid.uuid4().hex
        deadline = time.monotonic() + START
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"ComfyUI did not start:\n{self.log.read_text()[-3000:]}")
            time.sleep(0.2)
        self.socket = websocket.create_connection(f"ws://127.0.0.1:{self.port}/ws?clientId={self.client}", timeout=RUN)

    def _answers(self) -> bool:
        try:
            self.get("/system_stats")
        except OSError:
            return False
        return True

    def get(self, path: str):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=60) as answer:
            return json.load(answer)

    def post(self, path: str, **body):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read() or "{}")
        except urllib.error.HTTPError as error:
            raise Refused(error.read().decode()) from error

    def queue(self, graph: Graph) -> str:
        return self.post("/prompt", prompt=graph, client_id=self.client)["prompt_id"]

    def run(self, graph: Graph, until=lambda outcome: False) -> Outcome:
        """Queues ``graph`` and listens until it ends, or until ``until`` says to stop listening."""
        prompt, outcome = self.queue(graph), Outcome()
        while outcome.status == "running" and not until(outcome):
            self._hear(prompt, outcome)
        return outcome

    def finish(self, outcome: Outcome) -> Outcome:
        """Listens on, after ``run`` stopped listening early."""
        while outcome.status == "running":
            self._hear(None, outcome)
        return outcome

    def _hear(self, prompt: str | None, outcome: Outcome) -> None:
        message = self.socket.recv()
        if isinstance(message, bytes):
            kind = int.from_bytes(message[:4], "big")
            if kind == 3:  # text: length of the node id, the node id, the text
                length = int.from_bytes(message[4:8], "big")
                outcome.texts.append(message[8 + length :].decode())
            else:
                outcome.pictures.append(message)
            return
        message = json.loads(message)
        kind, data = message["type"], message["data"]
        if prompt and data.get("prompt_id", prompt) != prompt:
            return
        if kind == "executing" and data["node"]:
            outcome.executed.append(data["node"])
        elif kind == "executed":
            outcome.outputs[data["node"]] = data["output"]
        elif kind == "progress":
            outcome.progress.append((data["node"], data["value"], data["max"]))
        elif kind == "identity_aging.warning":
            outcome.warnings.append(data["sentence"])
        elif kind in ("execution_success", "execution_error", "execution_interrupted"):
            outcome.status = kind.removeprefix("execution_")
            outcome.error = data if kind == "execution_error" else {}

    def interrupt(self) -> None:
        self.post("/interrupt")

    def kill(self) -> None:
        self.socket.close()
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.socket.close()
            self.process.terminate()
            self.process.wait(timeout=30)

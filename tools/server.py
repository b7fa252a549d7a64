"""Starts a real ComfyUI server and talks to it as the front end does."""

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

START, RUN = 180, 600  # s, timeouts


class Graph(dict):
    """A graph in ComfyUI's API format."""

    def add(self, class_type: str, **inputs) -> str:
        """Adds a node and returns its id; as an input's value, ``(id, n)`` is that node's n-th output."""
        node = str(len(self) + 1)
        self[node] = {
            "class_type": class_type,
            "inputs": {name: list(value) if isinstance(value, tuple) else value for name, value in inputs.items()},
        }
        return node


@dataclass
class Outcome:
    """What happened to one queued graph."""

    status: str = "running"  # success, error or interrupted
    executed: list[str] = field(default_factory=list)  # node ids in order
    outputs: dict[str, dict] = field(default_factory=dict)  # ui outputs by node id
    error: dict = field(default_factory=dict)
    progress: list[tuple[str, int, int]] = field(default_factory=list)  # node id, value, max
    pictures: list[bytes] = field(default_factory=list)  # previews, as sent
    texts: list[str] = field(default_factory=list)  # on nodes, while they ran
    warnings: list[str] = field(default_factory=list)  # of this pack's nodes


class Refused(Exception):
    """The server refused a graph before running it; the message is the server's answer."""


class Server:
    """A ComfyUI process on a free local port, with ``base`` as its base directory.

    Raises RuntimeError with the end of the log if it does not start.
    """

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
        """Queues ``graph`` and listens until it ends or ``until(outcome)`` is true."""
        prompt, outcome = self.queue(graph), Outcome()
        while outcome.status == "running" and not until(outcome):
            self._receive(prompt, outcome)
        return outcome

    def finish(self, outcome: Outcome) -> Outcome:
        """Listens until the graph ends, after ``run`` returned early."""
        while outcome.status == "running":
            self._receive(None, outcome)
        return outcome

    def _receive(self, prompt: str | None, outcome: Outcome) -> None:
        message = self.socket.recv()
        if isinstance(message, bytes):
            if int.from_bytes(message[:4], "big") != 3:  # text of ComfyUI's own nodes
                outcome.pictures.append(message)
            return
        message = json.loads(message)
        event, data = message["type"], message["data"]
        if prompt and data.get("prompt_id", prompt) != prompt:
            return
        if event == "executing" and data["node"]:
            outcome.executed.append(data["node"])
        elif event == "executed":
            outcome.outputs[data["node"]] = data["output"]
        elif event == "progress":
            outcome.progress.append((data["node"], data["value"], data["max"]))
        elif event == "identity_aging.text":
            outcome.texts.append(data["text"])
        elif event == "identity_aging.warning":
            outcome.warnings.append(data["sentence"])
        elif event in ("execution_success", "execution_error", "execution_interrupted"):
            outcome.status = event.removeprefix("execution_")
            outcome.error = data if event == "execution_error" else {}

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

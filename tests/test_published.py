"""Downloads, against a server on this machine that misbehaves in every way seen in the wild."""

import hashlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from training import published
from training.errors import UserError
from training.files import PARTIAL
from training.published import Published, obtain

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"<html>Please log in</html>"


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests: list[str | None]  # the Range of each

    def do_GET(self):
        asked = self.headers.get("Range")
        self.requests.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        way = self.path.strip("/")
        if way == "missing":
            return self._answer(404, b"not here")
        if way == "broken" and len(self.requests) < 3:
            return self._answer(503, b"busy")
        content = {"page": PAGE, "empty": b"", "endless": CONTENT * 2}.get(way, CONTENT)
        if way == "deaf" and asked:
            start = 0  # sends all of it again
        self._answer(206 if start else 200, content[start:], cut=way in ("cut", "deaf") and not asked)

    def _answer(self, status, content, cut=False):
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = True

    def log_message(self, *_):
        pass


class Stalled(Server):
    def do_GET(self):
        self.requests.append(None)
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"half")
        time.sleep(1)


@pytest.fixture
def serve(monkeypatch):
    monkeypatch.setattr(published, "TIMEOUT", (0.2, 0.2))
    monkeypatch.setattr(published.time, "sleep", lambda seconds: None)
    servers = []

    def start(handler=Server):
        handler.requests = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()


def weights(url, sha256=SHA256):
    return Published("weights.bin", url, sha256, "MIT", len(CONTENT))


@pytest.mark.parametrize("way", ["whole", "cut", "deaf", "broken"])
def test_what_was_published_arrives_even_in_pieces(serve, tmp_path, way):
    path = obtain(weights(f"{serve()}/{way}"), tmp_path, download=True)
    assert path.read_bytes() == CONTENT and list(tmp_path.iterdir()) == [path]
    if way == "cut":
        assert Server.requests == [None, f"bytes={len(CONTENT) // 2}-"]


@pytest.mark.parametrize(
    ("way", "sentence"),
    [
        ("page", "not the published weights.bin: its SHA-256"),
        ("empty", "not the published weights.bin: its SHA-256"),
        ("endless", "sends more than the 1048576 bytes"),
        ("missing", "could not be downloaded .404"),
    ],
)
def test_nothing_else_is_kept(serve, tmp_path, way, sentence):
    with pytest.raises(UserError, match=sentence) as refused:
        obtain(weights(f"{serve()}/{way}"), tmp_path, download=True)
    assert PARTIAL not in str(refused.value), "a folder that is gone by now"
    assert not list(tmp_path.iterdir())
    assert len(Server.requests) == 1


def test_a_server_that_says_no_more_is_given_up(serve, tmp_path):
    start = time.monotonic()
    with pytest.raises(UserError, match=rf"could not be downloaded .* by hand into {re.escape(str(tmp_path))}\.$"):
        obtain(weights(serve(Stalled)), tmp_path, download=True)
    assert len(Stalled.requests) == published.TRIES and time.monotonic() - start < 5
    assert not list(tmp_path.iterdir())


def test_a_file_without_recorded_hash_is_kept_only_when_it_can_be_read(serve, tmp_path):
    def refuse(path):
        raise UserError(f"{path.read_bytes()[:6]} is no network")

    with pytest.raises(UserError, match="is no network"):
        obtain(weights(f"{serve()}/page", None), tmp_path, True, refuse)
    assert not list(tmp_path.iterdir())


def test_a_wrong_file_that_is_there_is_refused_and_left_alone(tmp_path):
    (tmp_path / "weights.bin").write_bytes(PAGE)
    with pytest.raises(UserError, match="Delete it"):
        obtain(weights("http://127.0.0.1:9/"), tmp_path, download=True)
    assert (tmp_path / "weights.bin").read_bytes() == PAGE


def test_nothing_is_fetched_unasked(serve, tmp_path):
    with pytest.raises(UserError, match=r"weights.bin \(MIT\) is not in .*Download http.*option download"):
        obtain(weights(serve()), tmp_path, download=False)
    assert not Server.requests

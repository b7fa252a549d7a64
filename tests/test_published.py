"""Downloads, from a local server with the faults of real servers."""

import hashlib
import re
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from training import published
from training.errors import DamagedFile, DownloadFailed, InvalidData, MissingFile
from training.files import PARTIAL
from training.published import Published, obtain

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SHA256 = hashlib.sha256(CONTENT).hexdigest()
PAGE = b"<html>Please log in</html>"


class Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    requests: list[str | None]  # the Range header per request

    def do_GET(self):
        requested = self.headers.get("Range")
        self.requests.append(requested)
        start = int(requested.removeprefix("bytes=").rstrip("-")) if requested else 0
        fault = self.path.strip("/")
        if fault == "missing":
            return self._answer(404, b"not here")
        if fault == "broken" and len(self.requests) < 3:
            return self._answer(503, b"busy")
        content = {"page": PAGE, "empty": b"", "endless": CONTENT * 2}.get(fault, CONTENT)
        if fault == "rangeless" and requested:
            start = 0  # sends the whole file again
        self._answer(206 if start else 200, content[start:], cut=fault in ("cut", "rangeless") and not requested)

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


@pytest.mark.parametrize("fault", ["none", "cut", "rangeless", "broken"])
def test_a_file_is_downloaded_despite_interruptions(serve, tmp_path, fault):
    path = obtain(weights(f"{serve()}/{fault}"), tmp_path, download=True)
    assert path.read_bytes() == CONTENT and list(tmp_path.iterdir()) == [path]
    if fault == "cut":
        assert Server.requests == [None, f"bytes={len(CONTENT) // 2}-"]


@pytest.mark.parametrize(
    ("fault", "error", "value"),
    [
        ("page", DamagedFile, hashlib.sha256(PAGE).hexdigest()),
        ("empty", DamagedFile, hashlib.sha256(b"").hexdigest()),
        ("endless", DownloadFailed, "1048576"),
        ("missing", DownloadFailed, "404"),
    ],
)
def test_other_content_is_not_kept(serve, tmp_path, fault, error, value):
    with pytest.raises(error, match=value) as raised:
        obtain(weights(f"{serve()}/{fault}"), tmp_path, download=True)
    assert f"/{fault}" in str(raised.value)
    assert PARTIAL not in str(raised.value), "the message names a temporary folder that no longer exists"
    assert not list(tmp_path.iterdir())
    assert len(Server.requests) == 1


def test_a_stalled_download_is_given_up(serve, tmp_path):
    url, start = serve(Stalled), time.monotonic()
    with pytest.raises(DownloadFailed, match=rf"{re.escape(url)}.*{re.escape(str(tmp_path))}"):
        obtain(weights(url), tmp_path, download=True)
    assert len(Stalled.requests) == published.TRIES and time.monotonic() - start < 5
    assert not list(tmp_path.iterdir())


def test_a_file_without_a_recorded_hash_is_kept_only_if_the_check_passes(serve, tmp_path):
    def refuse(path):
        raise InvalidData(path.read_bytes().decode())

    with pytest.raises(InvalidData, match=PAGE.decode()):
        obtain(weights(f"{serve()}/page", None), tmp_path, True, refuse)
    assert not list(tmp_path.iterdir())


def test_a_wrong_existing_file_raises_and_is_not_deleted(tmp_path):
    (tmp_path / "weights.bin").write_bytes(PAGE)
    with pytest.raises(DamagedFile, match=re.escape(str(tmp_path / "weights.bin"))):
        obtain(weights("http://127.0.0.1:9/"), tmp_path, download=True)
    assert (tmp_path / "weights.bin").read_bytes() == PAGE


def test_nothing_is_downloaded_without_the_option(serve, tmp_path):
    url = serve()
    with pytest.raises(MissingFile) as error:
        obtain(weights(url), tmp_path, download=False)
    assert all(value in str(error.value) for value in ("weights.bin", "MIT", str(tmp_path), url))
    assert not Server.requests

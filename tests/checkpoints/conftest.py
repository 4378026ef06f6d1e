"""A server on this machine that misbehaves on demand."""

from __future__ import annotations

import hashlib
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from napari_sam2.checkpoints import transfer
from napari_sam2.checkpoints.registry import BASE, Checkpoint

PAYLOAD = np.random.default_rng(0).bytes(1_000_003)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, dict(self.headers)))
        answers = self.server.answers
        (answers.pop(0) if answers else Handler.give)(self)

    def give(self, count=None, minds_versions=True):
        """As servers do; the connection is closed after `count` bytes."""
        payload, etag = self.server.payload, self.server.etag
        asked = self.headers.get("Range")
        if minds_versions and self.headers.get("If-Range", etag) != etag:
            asked = None
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        if asked and start >= len(payload):
            self.head(416, 0, Content_Range=f"bytes */{len(payload)}")
            return
        part = {"Content_Range": f"bytes {start}-{len(payload) - 1}/{len(payload)}"}
        self.head(206 if asked else 200, len(payload) - start, **(part if asked else {}))
        self.wfile.write(payload[start:][:count])

    def head(self, status, length, **headers):
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        if self.server.etag:
            self.send_header("ETag", self.server.etag)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def log_message(self, *_):
        pass


class FileServer(ThreadingHTTPServer):
    """Answers each request with the next of `answers`, then as servers do."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.payload, self.etag = PAYLOAD, '"first"'
        self.answers, self.asked = [], []
        self.released = threading.Event()
        self.address = f"http://127.0.0.1:{self.server_port}"

    @property
    def ranges(self):
        return [headers.get("Range") for _, headers in self.asked]

    def handle_error(self, request, client_address):
        pass  # a client that has gone away


@pytest.fixture
def server():
    with FileServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def folder(server, monkeypatch, tmp_path):
    """The folder of models, empty; the server is the mirror, attempts follow soon."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "napari_sam2_offline"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NAPARI_SAM2_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("NAPARI_SAM2_MIRROR", server.address)
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    return tmp_path / "models"


@pytest.fixture
def checkpoint():
    return Checkpoint(
        "test", "sam2.1", f"{BASE}/a/test.pt", hashlib.sha256(PAYLOAD).hexdigest(), len(PAYLOAD)
    )


@pytest.fixture
def unknown(checkpoint):
    """The same, with neither checksum nor size known."""
    return replace(checkpoint, sha256=None, size=None)


@pytest.fixture
def any_tensors(monkeypatch):
    """Take whatever arrives for a model where no checksum is known."""
    monkeypatch.setattr("napari_sam2.checkpoints.verify.check_tensors", lambda *_: None)

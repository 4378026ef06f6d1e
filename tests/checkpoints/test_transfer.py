"""What servers, proxies and lines do, and what comes of it."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import requests

from napari_sam2.checkpoints import transfer
from napari_sam2.checkpoints.download import DownloadError, bytes_kept, download

PAYLOAD_SIZE = 1_000_003
HALF = 500_000


def broken(server, *counts, **how):
    """Connections that are closed after so many bytes each."""
    server.answers += [lambda handler, n=count: handler.give(n, **how) for count in counts]


def status(code, **headers):
    return lambda handler: handler.head(code, 0, **headers)


def send(handler, body, **headers):
    handler.head(200, len(body), **headers)
    handler.wfile.write(body)


def test_a_file_comes_whole(server, folder, checkpoint):
    seen = []
    path = download(checkpoint, lambda done, total: seen.append((done, total)))
    assert path == folder / "test.pt"
    assert path.read_bytes() == server.payload
    assert seen == sorted(seen)
    assert seen[-1] == (PAYLOAD_SIZE, PAYLOAD_SIZE)
    assert [file.name for file in folder.iterdir()] == ["test.pt"]
    ((asked, headers),) = server.asked
    assert asked == "/a/test.pt"
    assert headers["Accept-Encoding"] == "identity"


def test_a_broken_connection_goes_on_where_it_broke(server, folder, checkpoint):
    broken(server, HALF, 300_000)
    assert download(checkpoint).read_bytes() == server.payload
    first, second, third = server.ranges
    assert first is None
    starts = [int(re.fullmatch(r"bytes=(\d+)-", each)[1]) for each in (second, third)]
    assert 0 < starts[0] <= HALF < starts[1] <= HALF + 300_000
    assert server.asked[1][1]["If-Range"] == '"first"'


def test_many_breaks_are_no_failure_while_something_comes(server, folder, checkpoint):
    broken(server, *[130_000] * (transfer.ATTEMPTS + 2))
    assert download(checkpoint).read_bytes() == server.payload


def test_a_server_that_always_breaks_is_given_up_and_the_part_kept(server, folder, checkpoint):
    broken(server, HALF, *[0] * 20)
    with pytest.raises(DownloadError, match=r"MB are kept: download again later") as caught:
        download(checkpoint)
    assert checkpoint.url in str(caught.value)
    assert str(folder) in str(caught.value)
    assert len(server.asked) == 1 + transfer.ATTEMPTS - 1
    assert 0 < bytes_kept(checkpoint) <= HALF
    server.answers.clear()
    assert download(checkpoint).read_bytes() == server.payload
    assert server.ranges[-1] is not None


def test_a_stalled_connection_is_left(server, folder, checkpoint, monkeypatch):
    def stall(handler):
        handler.head(200, PAYLOAD_SIZE)
        handler.wfile.write(server.payload[:HALF])
        handler.wfile.flush()
        server.released.wait(20)

    monkeypatch.setattr(transfer, "TIMEOUT", (5.0, 0.3))
    server.answers = [stall]
    assert download(checkpoint).read_bytes() == server.payload
    assert server.ranges[1] is not None


def test_a_server_that_never_answers_is_named(server, folder, checkpoint, monkeypatch):
    monkeypatch.setattr(transfer, "TIMEOUT", (5.0, 0.1))
    monkeypatch.setattr(transfer, "ATTEMPTS", 2)
    server.answers = [lambda handler: server.released.wait(20)] * 2
    with pytest.raises(DownloadError, match=r"sent nothing for 0\.1 seconds"):
        download(checkpoint)


def test_a_file_of_another_length_is_refused_at_once(server, folder, checkpoint):
    server.payload = server.payload[:HALF]
    with pytest.raises(DownloadError, match="has 500000 bytes, but 1000003 were expected"):
        download(checkpoint)
    assert len(server.asked) == 1
    assert bytes_kept(checkpoint) == 0


def test_a_redirect_is_followed_with_the_range(server, folder, checkpoint):
    broken(server, HALF)
    server.answers.insert(0, status(302, Location="/b/elsewhere"))
    server.answers.append(status(307, Location="/b/elsewhere"))
    assert download(checkpoint).read_bytes() == server.payload
    assert [path for path, _ in server.asked] == ["/a/test.pt", "/b/elsewhere"] * 2
    assert server.ranges[2] is not None
    assert server.ranges[3] == server.ranges[2]


def test_a_server_without_ranges_starts_over(server, folder, checkpoint):
    broken(server, HALF)
    server.answers.append(lambda handler: send(handler, server.payload))
    assert download(checkpoint).read_bytes() == server.payload
    assert len(server.asked) == 2


@pytest.mark.parametrize("honest", [True, False])
def test_a_file_that_changed_is_not_glued_to_the_old_part(server, folder, checkpoint, honest):
    replacement = np.random.default_rng(1).bytes(PAYLOAD_SIZE)
    broken(server, HALF)
    assert download(checkpoint, cancelled=lambda: bytes_kept(checkpoint) > 0) is None
    server.payload, server.etag = replacement, '"second"'
    if not honest:
        broken(server, HALF, minds_versions=False)
    changed = replace(checkpoint, sha256=hashlib.sha256(replacement).hexdigest())
    assert download(changed).read_bytes() == replacement
    assert server.ranges[1] is not None
    assert len(server.asked) == (2 if honest else 3)


@pytest.mark.parametrize("code", [408, 429, 500, 503])
def test_a_passing_error_is_waited_out(server, folder, checkpoint, code):
    server.answers = [status(code, Retry_After="0")] * 2
    assert download(checkpoint).read_bytes() == server.payload
    assert len(server.asked) == 3


@pytest.mark.parametrize("code", [401, 403, 404, 407])
def test_a_lasting_error_is_not_tried_again(server, folder, checkpoint, code):
    server.answers = [status(code)]
    with pytest.raises(DownloadError, match=f"/a/test.pt answered {code} .*put it into"):
        download(checkpoint)
    assert len(server.asked) == 1


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server, folder, checkpoint):
    folder.mkdir()
    (folder / "test.pt.partial").write_bytes(b"x" * (PAYLOAD_SIZE + 1))
    assert download(checkpoint).read_bytes() == server.payload
    assert server.ranges == [f"bytes={PAYLOAD_SIZE + 1}-", None]


def test_a_part_that_is_whole_needs_no_network(server, folder, checkpoint):
    folder.mkdir()
    (folder / "test.pt.partial").write_bytes(server.payload)
    assert download(checkpoint).read_bytes() == server.payload
    assert server.asked == []


def test_the_end_of_a_whole_part_is_found_without_checksum(server, folder, unknown, any_tensors):
    folder.mkdir()
    (folder / "test.pt.partial").write_bytes(server.payload)
    note = {"url": f"{server.address}/a/test.pt", "etag": server.etag}
    (folder / "test.pt.partial.json").write_text(json.dumps(note))
    assert download(unknown).read_bytes() == server.payload
    assert server.ranges == [f"bytes={PAYLOAD_SIZE}-"]


def test_without_checksum_and_version_nothing_is_glued(server, folder, unknown, any_tensors):
    server.etag = None
    broken(server, HALF)
    assert download(unknown).read_bytes() == server.payload
    assert server.ranges == [None, None]


PAGE = b"\n<!DOCTYPE html><title>Log in</title>"


@pytest.mark.parametrize("kind", ["text/html; charset=utf-8", "application/octet-stream"])
def test_a_web_page_is_refused_and_the_part_kept(server, folder, checkpoint, kind):
    broken(server, HALF)
    server.answers.append(lambda handler: send(handler, PAGE, Content_Type=kind))
    later = replace(checkpoint, size=None)
    with pytest.raises(DownloadError, match="answered with a web page"):
        download(later)
    assert 0 < bytes_kept(later) <= HALF
    assert download(later).read_bytes() == server.payload
    assert server.ranges[2] is not None


def chunked(body, end=b"0\r\n\r\n"):
    def answer(handler):
        handler.protocol_version = "HTTP/1.1"
        handler.head(200, None, Transfer_Encoding="chunked", Connection="close")
        for start in range(0, len(body), 100_000):
            part = body[start : start + 100_000]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        handler.wfile.write(end)

    return answer


def test_a_body_of_unstated_length_is_taken(server, folder, checkpoint):
    later = replace(checkpoint, size=None)
    totals = set()
    server.answers = [chunked(server.payload)]
    path = download(later, lambda done, total: totals.add(total))
    assert path.read_bytes() == server.payload
    assert totals == {None}


def test_a_body_of_unstated_length_that_breaks_goes_on(server, folder, checkpoint):
    server.answers = [chunked(server.payload[:HALF], end=b"")]
    assert download(replace(checkpoint, size=None)).read_bytes() == server.payload
    assert server.ranges[1] is not None


def test_a_body_of_unstated_length_that_ends_early_goes_on(server, folder, checkpoint):
    server.answers = [chunked(server.payload[:HALF])]
    assert download(checkpoint).read_bytes() == server.payload
    assert server.ranges == [None, f"bytes={HALF}-"]


def test_an_endless_body_is_stopped(server, folder, checkpoint):
    server.answers = [chunked(server.payload + b"more")]
    with pytest.raises(DownloadError, match="more than the 1000003 bytes"):
        download(checkpoint)
    assert bytes_kept(checkpoint) == 0


def test_without_an_exact_size_the_number_of_weights_bounds_it(server, folder, unknown):
    server.payload = server.payload[:HALF]
    weights = replace(unknown, parameters=250_000)
    with pytest.raises(DownloadError, match="has 500000 bytes, but 1000001 to 1009999 were expec"):
        download(weights)
    server.answers = [chunked(bytes(1_010_001))]
    with pytest.raises(DownloadError, match="more than the 1009999 bytes"):
        download(weights)
    assert bytes_kept(weights) == 0


def test_a_compressed_body_is_refused(server, folder, checkpoint):
    server.answers = [lambda handler: send(handler, b"1234", Content_Encoding="gzip")]
    with pytest.raises(DownloadError, match="comes compressed"):
        download(checkpoint)


@pytest.mark.parametrize(
    "mirror", ["nonsense", "ftp://127.0.0.1/x", "http://", "http://a..b", f"http://{'a' * 70}.org"]
)
def test_a_mirror_that_is_no_address_is_named(folder, checkpoint, monkeypatch, mirror):
    monkeypatch.setenv("NAPARI_SAM2_MIRROR", mirror)
    with pytest.raises(DownloadError, match="Check NAPARI_SAM2_MIRROR"):
        download(checkpoint)


def test_a_file_of_certificates_that_is_not_there_is_named(folder, checkpoint, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM2_MIRROR", "https://127.0.0.1:9")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder / "nothing.pem"))
    with pytest.raises(DownloadError, match=r"nothing\.pem\. Check REQUESTS_CA_BUNDLE"):
        download(checkpoint)


def test_a_server_that_is_not_there_is_named(server, folder, checkpoint, monkeypatch):
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        address = f"http://127.0.0.1:{closed.server_port}"
    monkeypatch.setenv("NAPARI_SAM2_MIRROR", address)
    with pytest.raises(DownloadError, match=rf"{address}/a/test\.pt cannot be reached"):
        download(checkpoint)


@pytest.mark.parametrize(
    ("error", "message", "attempts"),
    [
        (requests.exceptions.SSLError("[SSL: CERTIFICATE_VERIFY_FAILED]"), "REQUESTS_CA_BUNDLE", 1),
        (
            requests.exceptions.SSLError("EOF occurred"),
            "encrypted connection .* broke",
            transfer.ATTEMPTS,
        ),
        (
            requests.exceptions.ConnectTimeout("timed out"),
            "did not answer in 10 seconds",
            transfer.ATTEMPTS,
        ),
    ],
)
def test_connections_that_are_not_made_are_told_apart(
    folder, checkpoint, monkeypatch, error, message, attempts
):
    asked = []

    def get(*_, **__):
        asked.append(1)
        raise error

    monkeypatch.setattr(requests.Session, "get", get)
    with pytest.raises(DownloadError, match=message):
        download(checkpoint)
    assert len(asked) == attempts


@pytest.fixture
def proxy(server):
    """A proxy for which every address is the server's file."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(server.payload)))
            self.end_headers()
            self.wfile.write(server.payload)

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{proxy.server_port}", asked
        proxy.shutdown()
        thread.join()


def test_the_proxy_of_the_environment_is_used(proxy, server, folder, checkpoint, monkeypatch):
    address, asked = proxy
    monkeypatch.setenv("http_proxy", address)
    monkeypatch.setenv("NAPARI_SAM2_MIRROR", "http://models.invalid")
    assert download(checkpoint).read_bytes() == server.payload
    assert asked == ["http://models.invalid/a/test.pt"]
    assert server.asked == []


def test_a_proxy_that_is_not_there_is_named(folder, checkpoint, monkeypatch):
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as closed:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed.server_port}")
    monkeypatch.setenv("NAPARI_SAM2_MIRROR", "http://models.invalid")
    with pytest.raises(DownloadError, match=r"The proxy on the way to http://models\.invalid"):
        download(checkpoint)

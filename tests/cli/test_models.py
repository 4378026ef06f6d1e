from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import threading
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from napari_sam2.checkpoints import download as downloads
from napari_sam2.checkpoints.registry import CHECKPOINTS, NANO_FILE
from napari_sam2.cli import app

FILE = "sam2.1_hiera_tiny.pt"
WEIGHTS = bytes(range(256)) * 1000


def run(*arguments):
    return CliRunner().invoke(app, ["models", *arguments])


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_SAM2_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def tiny(monkeypatch):
    """An entry of the registry whose file is small."""
    sha256 = hashlib.sha256(WEIGHTS).hexdigest()
    entry = replace(CHECKPOINTS["sam2.1_tiny"], sha256=sha256, size=len(WEIGHTS))
    monkeypatch.setitem(CHECKPOINTS, entry.name, entry)
    return entry


@pytest.fixture
def mirror(monkeypatch, tmp_path):
    """The folder of a server that stands in for the publisher's."""
    for name in ("http_proxy", "all_proxy", "no_proxy", "napari_sam2_offline"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    root = tmp_path / "mirror"
    path = root / "segment_anything_2/092824" / FILE
    path.parent.mkdir(parents=True)
    path.write_bytes(WEIGHTS)
    monkeypatch.setattr(SimpleHTTPRequestHandler, "log_message", lambda *_: None)
    handler = partial(SimpleHTTPRequestHandler, directory=root)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        monkeypatch.setenv("NAPARI_SAM2_MIRROR", f"http://127.0.0.1:{server.server_port}")
        yield path
        server.shutdown()
        thread.join()


def test_the_list_has_every_model_and_whether_it_is_here(folder):
    folder.mkdir()
    (folder / FILE).touch()
    (folder / "sam2_hiera_small.pt.partial").write_bytes(b"x")
    result = run("list")
    assert result.exit_code == 0
    header, *rows = result.stdout.splitlines()
    assert header.split()[:5] == ["NAME", "FAMILY", "SIZE", "LICENCE", "DOWNLOADED"]
    assert [row.split()[0] for row in rows] == ["nano", *CHECKPOINTS]
    here = header.index("DOWNLOADED")
    state = {row.split()[0]: row[here:].split("  ")[0] for row in rows}
    assert state["nano"] == "bundled"
    assert state["sam2.1_tiny"] == "yes"
    assert state["sam2_small"] == "in part"
    assert state["sam_vit_h"] == "no"
    assert "Apache-2.0" in rows[1]
    assert CHECKPOINTS["sam2.1_tiny"].purpose in rows[1]


def test_a_folder_that_may_not_be_looked_into_is_one_line(folder, monkeypatch):
    def refuse(_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))

    monkeypatch.setattr(downloads, "is_downloaded", refuse)
    result = run("list")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert str(folder) in result.stderr


def test_a_model_is_downloaded_and_checked(folder, tiny, mirror):
    result = run("download", "nano", tiny.name)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "nano: bundled, nothing to download",
        f"{tiny.name}: checksum right: {folder / FILE}",
    ]
    assert f"{tiny.name}: 0.3 MB from http://127.0.0.1" in result.stderr
    assert (folder / FILE).read_bytes() == WEIGHTS
    again = run("download", tiny.name)
    assert again.stdout == f"{tiny.name}: already here, checksum right: {folder / FILE}\n"


def test_what_was_checked_without_checksum_is_said(folder, monkeypatch):
    """The bundled file stands for a published one."""
    size = NANO_FILE.stat().st_size
    small = CHECKPOINTS["sam2_small"]
    url = small.url.replace(small.file, "nano.safetensors")
    entry = replace(small, name="nano", url=url, parameters=size // 4 - 1)
    monkeypatch.setitem(CHECKPOINTS, "sam2_small", entry)
    folder.mkdir()
    path = folder / "nano.safetensors"
    path.write_bytes(NANO_FILE.read_bytes())
    said = "no checksum known: size and shapes right"
    assert run("download", "sam2_small").stdout == f"nano: already here, {said}: {path}\n"


def test_a_failed_download_is_one_line(folder, tiny, mirror):
    mirror.unlink()
    result = run("download", tiny.name)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 2
    assert "Error: http://127.0.0.1" in result.stderr
    assert "answered 404" in result.stderr


def test_an_interrupt_says_how_to_go_on(folder, tiny, mirror, monkeypatch):
    real = downloads.download

    def interrupted(checkpoint, progress):
        def stop(done, total):
            progress(done, total)
            raise KeyboardInterrupt

        return real(checkpoint, stop)

    monkeypatch.setattr(downloads, "download", interrupted)
    result = run("download", tiny.name)
    assert result.exit_code == 130
    assert "Stopped; 0.1 MB are kept." in result.stderr
    assert f"napari-sam2 models download {tiny.name}" in result.stderr


def test_files_are_verified(folder, tiny):
    folder.mkdir()
    (folder / FILE).write_bytes(WEIGHTS)
    result = run("verify")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "nano: bundled, no checksum known: shapes right",
        f"{tiny.name}: checksum right",
    ]
    (folder / FILE).write_bytes(WEIGHTS[:-1] + b"x")
    (folder / "sam2_hiera_small.pt").write_bytes(b"no weights")
    result = run("verify", tiny.name, "sam2_small", "sam_vit_b")
    assert result.exit_code == 1
    first, second, third = result.stdout.splitlines()
    assert f"{tiny.name}: wrong: {FILE} has the SHA-256" in first
    assert "sam2_small: wrong: sam2_hiera_small.pt has 10 bytes" in second
    assert third == "sam_vit_b: not downloaded; run: napari-sam2 models download sam_vit_b"


def test_paths(folder):
    assert run("path").stdout == f"{folder}\n"
    assert run("path", "sam2.1_tiny").stdout == f"{folder / FILE}\n"
    assert run("path", "nano").stdout == f"{NANO_FILE}\n"


@pytest.mark.parametrize("command", ["download", "verify", "path"])
def test_an_unknown_name_is_refused(folder, command):
    result = run(command, "sam3")
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "There is no model 'sam3'. Known are nano, sam2.1_tiny," in result.stderr


def test_listing_needs_no_torch_or_requests():
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom napari_sam2.cli import app\n"
        "assert CliRunner().invoke(app, ['models', 'list']).exit_code == 0\n"
        "print([m for m in ('torch', 'numpy', 'requests', 'napari') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout == "[]\n"

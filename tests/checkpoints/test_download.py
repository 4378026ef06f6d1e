"""The folder, and how a file comes to lie in it; `test_transfer.py` has the network's ways."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace

import pytest

from napari_sam2.checkpoints import download as downloads
from napari_sam2.checkpoints.download import (
    DownloadError,
    bytes_kept,
    download,
    is_downloaded,
    models_folder,
    path_of,
)
from napari_sam2.checkpoints.registry import BASE, CHECKPOINTS, NANO_FILE, Checkpoint


def test_the_folder_is_the_user_s_cache_or_the_one_that_is_set(monkeypatch, tmp_path):
    monkeypatch.delenv("NAPARI_SAM2_MODELS", raising=False)
    assert "napari-sam2" in models_folder().parts
    monkeypatch.setenv("NAPARI_SAM2_MODELS", str(tmp_path))
    tiny = CHECKPOINTS["sam2.1_tiny"]
    assert path_of(tiny) == tmp_path / "sam2.1_hiera_tiny.pt"
    assert not is_downloaded(tiny)
    path_of(tiny).touch()
    assert is_downloaded(tiny)
    monkeypatch.setenv("NAPARI_SAM2_MODELS", os.path.join("~", "weights"))
    assert models_folder() == type(tmp_path).home() / "weights"


def test_the_mirror_stands_in_for_the_publisher(monkeypatch):
    tiny = CHECKPOINTS["sam2.1_tiny"]
    monkeypatch.delenv("NAPARI_SAM2_MIRROR", raising=False)
    assert downloads.address_of(tiny) == tiny.url
    monkeypatch.setenv("NAPARI_SAM2_MIRROR", "https://mirror.org/sam/")
    path = "segment_anything_2/092824/sam2.1_hiera_tiny.pt"
    assert downloads.address_of(tiny) == f"https://mirror.org/sam/{path}"


def test_looking_for_files_brings_neither_torch_nor_requests():
    code = (
        "import sys; from napari_sam2.checkpoints import download as d;"
        "from napari_sam2.checkpoints.registry import CHECKPOINTS;"
        "[d.is_downloaded(c) for c in CHECKPOINTS.values()];"
        "print([m for m in ('torch', 'numpy', 'requests') if m in sys.modules])"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert output.stdout == "[]\n"


def test_cancelling_keeps_the_part_and_the_next_download_goes_on(server, folder, checkpoint):
    seen = []
    assert download(checkpoint, lambda *done: seen.append(done), lambda: len(seen) == 3) is None
    assert not is_downloaded(checkpoint)
    assert bytes_kept(checkpoint) == seen[-1][0]
    assert download(checkpoint).read_bytes() == server.payload
    assert server.ranges == [None, f"bytes={seen[-1][0]}-"]


def test_an_interrupt_keeps_the_part(server, folder, checkpoint):
    def interrupt(done, total):
        if done > 300_000:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download(checkpoint, interrupt)
    assert bytes_kept(checkpoint) > 300_000
    assert download(checkpoint).read_bytes() == server.payload
    assert server.ranges[1] is not None


def test_cancelling_while_waiting_for_another_attempt(server, folder, checkpoint, monkeypatch):
    monkeypatch.setattr("napari_sam2.checkpoints.transfer.PAUSE", 1e6)
    server.answers = [lambda handler: handler.head(503, 0)] * 9
    assert download(checkpoint, cancelled=lambda: bool(server.asked)) is None
    assert len(server.asked) == 1


def test_wrong_bytes_are_named_and_deleted(server, folder, checkpoint):
    payload = server.payload
    server.payload = payload[:-1] + bytes([payload[-1] ^ 1])
    with pytest.raises(DownloadError, match="is not the published file, and was deleted") as caught:
        download(checkpoint)
    found = hashlib.sha256(server.payload).hexdigest()
    assert f"its SHA-256 is {found}, but {checkpoint.sha256} was expected" in str(caught.value)
    assert bytes_kept(checkpoint) == 0
    assert not is_downloaded(checkpoint)
    server.payload = payload
    assert download(checkpoint).read_bytes() == payload
    assert server.ranges == [None, None]


def test_without_checksum_the_tensors_are_checked(server, folder, unknown):
    with pytest.raises(DownloadError, match=r"was deleted: test\.pt\.partial"):
        download(unknown)
    assert bytes_kept(unknown) == 0
    assert not is_downloaded(unknown)


def test_a_file_put_there_by_hand_is_used(server, folder, checkpoint):
    folder.mkdir()
    path_of(checkpoint).write_bytes(server.payload)
    assert download(checkpoint) == path_of(checkpoint)
    assert server.asked == []


@pytest.mark.parametrize("wrong", [b"x", b"x" * 1_000_003])
def test_another_file_in_its_place_is_neither_used_nor_lost(server, folder, checkpoint, wrong):
    folder.mkdir()
    path_of(checkpoint).write_bytes(wrong)
    with pytest.raises(DownloadError, match=r"as published has.*Remove .*test\.pt"):
        download(checkpoint)
    assert path_of(checkpoint).read_bytes() == wrong


def test_a_file_without_checksum_in_its_place_is_checked(folder):
    """Its length first, as that takes no time, and its tensors."""
    small = CHECKPOINTS["sam2_small"]
    folder.mkdir()
    path_of(small).write_bytes(b"no weights")
    with pytest.raises(DownloadError, match=r"has 10 bytes, but sam2_small as published has 18"):
        download(small)
    with path_of(small).open("wb") as file:
        file.truncate(small.sizes[0])
    with pytest.raises(DownloadError, match=r"not a checkpoint, or is damaged\. Remove .*small"):
        download(small)
    shutil.copy(NANO_FILE, folder / "nano.safetensors")
    mine = Checkpoint("mine", "sam2.1", f"{BASE}/nano.safetensors")
    with pytest.raises(DownloadError, match="holds the weights of nano, not of mine"):
        download(mine)
    assert download(replace(mine, name="nano")) == folder / "nano.safetensors"


@pytest.mark.parametrize("value", ["1", "true"])
def test_offline_says_what_to_put_where(server, folder, checkpoint, monkeypatch, value):
    monkeypatch.setenv("NAPARI_SAM2_OFFLINE", value)
    with pytest.raises(DownloadError, match="NAPARI_SAM2_OFFLINE forbids") as caught:
        download(checkpoint)
    assert f"put it into {folder} as test.pt" in str(caught.value)
    assert server.asked == []
    monkeypatch.setenv("NAPARI_SAM2_OFFLINE", "0")
    assert download(checkpoint) is not None


def test_a_disk_without_room_is_named_before_anything_is_written(
    server, folder, checkpoint, monkeypatch
):
    usage = shutil.disk_usage(folder.parent)._replace(free=300_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match=r"0\.3 MB free in .*1\.0 MB are to come"):
        download(checkpoint)
    assert bytes_kept(checkpoint) == 0
    # what is there already need not be stored again
    (folder / "test.pt.partial").write_bytes(server.payload[:800_000])
    assert download(checkpoint).read_bytes() == server.payload


def test_a_folder_that_cannot_be_made_is_named(server, folder, checkpoint, monkeypatch):
    folder.write_text("a file")
    with pytest.raises(DownloadError, match=r"cannot be written.*Set NAPARI_SAM2_MODELS"):
        download(checkpoint)
    monkeypatch.setenv("NAPARI_SAM2_MODELS", str(folder / "below"))
    with pytest.raises(DownloadError, match=r"cannot be written.*Set NAPARI_SAM2_MODELS"):
        download(checkpoint)
    assert server.asked == []


def test_a_read_only_folder_is_named(server, folder, checkpoint, monkeypatch):
    folder.mkdir()
    folder.chmod(0o500)
    if os.access(folder, os.W_OK):  # the superuser, or Windows

        def refuse(dir):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), dir)

        monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(DownloadError, match="cannot be written: Permission denied"):
        download(checkpoint)


def test_of_two_at_once_one_downloads_and_the_other_waits(server, folder, checkpoint, monkeypatch):
    monkeypatch.setattr(downloads, "_POLL", 0.01)
    begun, paths = threading.Event(), []

    def slow(handler):
        begun.set()
        server.released.wait(20)  # until the other is seen to wait
        handler.give()

    server.answers = [slow]
    first = threading.Thread(target=lambda: paths.append(download(checkpoint)))
    first.start()
    assert begun.wait(20)
    second = download(checkpoint, lambda *_: server.released.set())
    first.join()
    assert paths == [second]
    assert second.read_bytes() == server.payload
    assert len(server.asked) == 1
    assert [file.name for file in folder.iterdir()] == ["test.pt"]


def test_one_that_waits_can_be_cancelled(server, folder, checkpoint):
    begun = threading.Event()

    def slow(handler):
        begun.set()
        server.released.wait(20)
        handler.give()

    server.answers = [slow]
    first = threading.Thread(target=lambda: download(checkpoint))
    first.start()
    assert begun.wait(20)
    assert download(checkpoint, cancelled=lambda: True) is None
    server.released.set()
    first.join()
    assert is_downloaded(checkpoint)


def test_another_process_has_the_lock(server, folder, checkpoint):
    folder.mkdir()
    code = (
        "import sys; from filelock import FileLock; FileLock(sys.argv[1]).acquire();"
        "print('held', flush=True); sys.stdin.read()"
    )
    lock = str(folder / "test.pt.lock")
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code, lock], stdin=pipe, stdout=pipe) as other:
        assert other.stdout.readline() == b"held\n"
        assert download(checkpoint, cancelled=lambda: True) is None
        other.kill()  # a process that dies holds no lock
    assert download(checkpoint).read_bytes() == server.payload

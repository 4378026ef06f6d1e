from __future__ import annotations

import errno
import hashlib
import io
import os
from pathlib import Path

import pytest

from napari_sam2.checkpoints.errors import DownloadError
from napari_sam2.checkpoints.partial import Partial

URL = "https://mirror.org/test.pt"


def append(partial, data, **headers):
    with partial.appending(URL, {k.replace("_", "-"): v for k, v in headers.items()}) as write:
        write(data)


def test_what_is_written_is_counted_hashed_and_found_again(tmp_path):
    target = tmp_path / "test.pt"
    partial = Partial(target)
    append(partial, b"one ")
    append(Partial(target), b"two")
    again = Partial(target)
    assert again.done == 7
    assert again.sha256 == hashlib.sha256(b"one two").hexdigest()
    again.finish()
    assert target.read_bytes() == b"one two"
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"etag": '"a"', "last_modified": "Mon"}, '"a"'),
        ({"etag": 'W/"a"', "last_modified": "Mon"}, "Mon"),
        ({"etag": 'W/"a"'}, None),
        ({}, None),
    ],
)
def test_the_version_is_that_of_one_server(tmp_path, headers, validator):
    partial = Partial(tmp_path / "test.pt")
    append(partial, b"one", **headers)
    assert Partial(tmp_path / "test.pt").validator(URL) == validator
    assert partial.validator("https://another.org/test.pt") is None
    assert partial.is_of_another(URL, {"etag": '"b"'}) == ("etag" in headers)
    assert not partial.is_of_another(URL, {"content-length": "3"})
    partial.restart()
    assert (partial.done, partial.validator(URL)) == (0, None)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("note", ["", "{", "[]", '{"url": 3}'])
def test_a_damaged_note_is_no_note(tmp_path, note):
    partial = Partial(tmp_path / "test.pt")
    append(partial, b"one", etag='"a"')
    (tmp_path / "test.pt.partial.json").write_text(note)
    assert partial.validator(URL) is None


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "The disk is full, or your share of it.* it goes on where it stopped"),
        (errno.EIO, "cannot be written: .*Set NAPARI_SAM2_MODELS"),
    ],
)
def test_a_disk_that_fails_while_writing_is_named(tmp_path, monkeypatch, number, message):
    class Failing(io.BytesIO):
        def write(self, data):
            raise OSError(number, os.strerror(number))

    partial = Partial(tmp_path / "test.pt")
    append(partial, b"one")
    real = Path.open

    def opened(path, mode="r", **how):
        return Failing() if mode == "ab" else real(path, mode, **how)

    monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(DownloadError, match=message):
        append(partial, b"two")
    assert partial.done == 3

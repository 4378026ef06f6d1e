"""What has arrived of a file so far, kept so that a download can go on later."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_sam2.checkpoints.errors import DownloadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

_BLOCK = 1 << 20


@contextmanager
def disk_errors(path: Path) -> Iterator[None]:
    """Say what the disk refuses.

    Parameters
    ----------
    path : Path
        The file or folder that is written to.

    Raises
    ------
    DownloadError
        In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"The disk is full, or your share of it: {path} was not finished. Free some space "
                "and download again; it goes on where it stopped."
            ) from error
        raise DownloadError(
            f"{path} cannot be written: {error.strerror or error}. Set NAPARI_SAM2_MODELS to a "
            "folder in which you may write."
        ) from error


class Partial:
    """``<file>.partial``, and beside it a note of the version of the file that it is part of.

    Only one process may use it at a time.

    Parameters
    ----------
    target : Path
        The file when it is whole.

    Attributes
    ----------
    path : Path
        Where the part is.
    done : int
        Its length in bytes.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.partial")
        self.done = 0
        self._target = target
        self._note = target.with_name(f"{target.name}.partial.json")
        self._hash = hashlib.sha256()
        with disk_errors(self.path):
            if not self.path.exists():
                return
            with self.path.open("rb") as file:
                while block := file.read(_BLOCK):
                    self._hash.update(block)
                    self.done += len(block)

    @property
    def sha256(self) -> str:
        """Checksum of what is there."""
        return self._hash.hexdigest()

    def validator(self, url: str) -> str | None:
        """What an ``If-Range`` header takes, None where the server named no version.

        Parameters
        ----------
        url : str
            The address that is asked; the version is that of one server only.
        """
        note = self._read_note(url)
        etag = note.get("etag", "")
        if etag and not etag.startswith("W/"):  # a weak one does not promise the same bytes
            return etag
        return note.get("last-modified")

    def is_of_another(self, url: str, headers: Mapping[str, str]) -> bool:
        """Whether the server's headers name another version than the one begun."""
        note = self._read_note(url)
        return any(headers.get(name, kept) != kept for name, kept in note.items())

    def restart(self) -> None:
        """Throw away what is there."""
        with disk_errors(self.path):
            self.path.unlink(missing_ok=True)
            self._note.unlink(missing_ok=True)
        self.done = 0
        self._hash = hashlib.sha256()

    @contextmanager
    def appending(self, url: str, headers: Mapping[str, str]) -> Iterator[Callable[[bytes], None]]:
        """Open the part to write on.

        Parameters
        ----------
        url : str
            Where the rest comes from.
        headers : mapping of str to str
            The server's, which name the version.

        Yields
        ------
        callable
            Takes the bytes that follow.
        """
        versions = {name: headers[name] for name in ("etag", "last-modified") if name in headers}
        with disk_errors(self.path):
            self._note.write_text(json.dumps({"url": url, **versions}))
            file = self.path.open("ab")

        def write(chunk: bytes) -> None:
            with disk_errors(self.path):
                file.write(chunk)
                file.flush()  # so that closing writes nothing, and cannot fail
            self._hash.update(chunk)
            self.done += len(chunk)

        with file:
            yield write

    def finish(self) -> None:
        """Give the file its name: it is there whole, or not at all."""
        with disk_errors(self._target):
            with self.path.open("r+b") as file:
                os.fsync(file.fileno())
            os.replace(self.path, self._target)
            self._note.unlink(missing_ok=True)

    def _read_note(self, url: str) -> dict[str, str]:
        try:
            note = json.loads(self._note.read_text())
        except (OSError, ValueError):  # not there, or cut off
            return {}
        if not isinstance(note, dict) or note.pop("url", None) != url:
            return {}
        return {str(name): str(value) for name, value in note.items()}

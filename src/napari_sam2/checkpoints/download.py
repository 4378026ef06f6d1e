"""The folder of downloaded weights, and how a file comes to lie in it.

Environment variables: ``NAPARI_SAM2_MODELS`` is the folder, ``NAPARI_SAM2_MIRROR`` stands in for
the publisher's base address, and ``NAPARI_SAM2_OFFLINE=1`` forbids the network.
"""

from __future__ import annotations

import os
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from napari_sam2.checkpoints.errors import DownloadError as DownloadError
from napari_sam2.checkpoints.partial import Partial, disk_errors
from napari_sam2.checkpoints.registry import BASE
from napari_sam2.checkpoints.verify import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_sam2.checkpoints.registry import Checkpoint

_POLL = 0.2  # seconds between looks at another process's download


def models_folder() -> Path:
    """Where downloaded weights lie; it may not exist yet."""
    chosen = os.environ.get("NAPARI_SAM2_MODELS")
    if chosen:
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("napari-sam2", appauthor=False)


def path_of(checkpoint: Checkpoint) -> Path:
    """Where a checkpoint's file lies, or would lie."""
    return models_folder() / checkpoint.file


def is_downloaded(checkpoint: Checkpoint) -> bool:
    """Whether the file is there, downloaded or put there by hand; its content is not checked."""
    return path_of(checkpoint).is_file()


def bytes_kept(checkpoint: Checkpoint) -> int:
    """How much of an unfinished download is there to go on from."""
    path = path_of(checkpoint)
    try:
        return path.with_name(f"{path.name}.partial").stat().st_size
    except OSError:
        return 0


def address_of(checkpoint: Checkpoint) -> str:
    """Where a checkpoint is downloaded from: the publisher, or the mirror that is set."""
    mirror = os.environ.get("NAPARI_SAM2_MIRROR")
    return checkpoint.url.replace(BASE, mirror.rstrip("/"), 1) if mirror else checkpoint.url


def download(
    checkpoint: Checkpoint,
    progress: Callable[[int, int | None], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Path | None:
    """Bring a checkpoint into the folder, whole and checked.

    A download that broke off, here or in an earlier call, goes on where it stopped. When another
    process downloads the same file, this one waits for it.

    Parameters
    ----------
    checkpoint : Checkpoint
        What to download. A file that is there already is only checked.
    progress : callable, optional
        Called with the bytes that are there and the bytes of the whole, None while they are not
        known; about every 64 kB, in the calling thread.
    cancelled : callable, optional
        Asked as often, and while waiting; True stops, and what has arrived is kept. A connection
        that is silent is noticed after 30 seconds, and then this is asked.

    Returns
    -------
    Path or None
        The file; None when cancelled.

    Raises
    ------
    DownloadError
        When it cannot be had, is not the published file, or cannot be written.
    """
    path = path_of(checkpoint)
    show = progress or (lambda done, total: None)
    stop = cancelled or (lambda: False)
    if path.exists():
        return _checked(checkpoint, path)
    if os.environ.get("NAPARI_SAM2_OFFLINE", "").lower() not in ("", "0", "false", "no"):
        raise DownloadError(
            f"{checkpoint.name} is not here, and NAPARI_SAM2_OFFLINE forbids to download it. Get "
            f"{address_of(checkpoint)} elsewhere and put it into {path.parent} as {path.name}."
        )
    _make_folder(path.parent)
    with _alone(checkpoint, show, stop) as ours:
        if path.exists():  # another process has finished it
            return _checked(checkpoint, path)
        if not ours:
            return None
        from napari_sam2.checkpoints.transfer import fetch  # brings requests, which takes a while

        partial = Partial(path)
        if not fetch(checkpoint, address_of(checkpoint), partial, show, stop):
            return None
        _check_arrived(checkpoint, partial)
        partial.finish()
    return path


def _checked(checkpoint: Checkpoint, path: Path) -> Path:
    try:
        verify(checkpoint, path)
    except (ValueError, OSError) as error:
        # it may be of value to whoever put it there
        raise DownloadError(
            f"The file in the place of the download cannot be used: {error}. Remove {path} and "
            "download again, or give its path instead of the name."
        ) from error
    return path


def _check_arrived(checkpoint: Checkpoint, partial: Partial) -> None:
    """Throw away what is not the published file, and say so."""
    try:
        if checkpoint.sha256 is None:
            verify(checkpoint, partial.path)
        elif partial.sha256 != checkpoint.sha256:
            raise ValueError(
                f"its SHA-256 is {partial.sha256}, but {checkpoint.sha256} was expected"
            )
    except ValueError as error:
        partial.restart()
        raise DownloadError(
            f"What {address_of(checkpoint)} sent for {checkpoint.name} is not the published file, "
            f"and was deleted: {error}. Download it again, and if this comes "
            "again, from another network or mirror."
        ) from error


def _make_folder(folder: Path) -> None:
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()  # permissions alone do not tell everywhere


@contextmanager
def _alone(
    checkpoint: Checkpoint, show: Callable[[int, int | None], None], stop: Callable[[], bool]
) -> Iterator[bool]:
    """Keep other processes from the partial file; False when cancelled while they were at it."""
    from filelock import FileLock, Timeout

    path = path_of(checkpoint)
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    while True:
        with disk_errors(path), suppress(Timeout):
            lock.acquire(timeout=0)
        if lock.is_locked:
            break
        if stop():
            yield False
            return
        show(bytes_kept(checkpoint), checkpoint.size)
        time.sleep(_POLL)
    try:
        yield True
    finally:
        lock.release()
        if path.exists():  # whoever still waits sees it too, and needs no lock
            with suppress(OSError):
                path.with_name(f"{path.name}.lock").unlink()

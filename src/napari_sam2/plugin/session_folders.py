"""Where sessions are kept by themselves: one folder for each image and each time of working.

A lock beside a folder says that somebody is working in it; it ends with the process.
"""

from __future__ import annotations

import itertools
import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from napari_sam2.session.folder import JSON_NAME, image_of

if TYPE_CHECKING:
    from napari_sam2.session.identity import ImageIdentity

_KEPT = 5  # sessions of an image
_NUMBERS = itertools.count()


def sessions_folder() -> Path:
    """Folder of all sessions: ``$NAPARI_SAM2_SESSIONS``, or in the user's data folder."""
    chosen = os.environ.get("NAPARI_SAM2_SESSIONS")
    if chosen:
        return Path(chosen)
    from platformdirs import user_data_path

    return user_data_path("napari-sam2", appauthor=False) / "sessions"


def new_folder(image: ImageIdentity) -> tuple[Path, FileLock]:
    """Choose the folder for new work on an image, and lock it; it is made when it is written."""
    parent = sessions_folder() / image.key
    parent.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    path = parent / f"{stamp}-{os.getpid()}-{next(_NUMBERS)}"
    lock = _lock(path)
    lock.acquire(blocking=False)
    return path, lock


def earlier_sessions(image: ImageIdentity) -> list[Path]:
    """Sessions of an image in which nobody is working, the newest first; the oldest are deleted.

    Where the pixels are not known, now or when the session began, the name has to be the same.
    """
    found = [
        path.parent
        for key in {image.key, replace(image, sha256="").key}
        for path in (sessions_folder() / key).glob(f"*/{JSON_NAME}")
        if not _is_locked(path.parent)
        and ((image.sha256 and key == image.key) or _is_alike(image_of(path.parent), image))
    ]
    found.sort(key=lambda path: (path / JSON_NAME).stat().st_mtime, reverse=True)
    for path in found[_KEPT:]:
        delete(path)
    return found[:_KEPT]


def delete(path: Path) -> None:
    """Delete a session's folder and its lock."""
    shutil.rmtree(path, ignore_errors=True)
    Path(_lock(path).lock_file).unlink(missing_ok=True)


def _is_alike(saved: ImageIdentity | None, image: ImageIdentity) -> bool:
    if saved is None or saved.differences(image):
        return False
    return bool(saved.sha256 and image.sha256) or saved.name == image.name


def _lock(path: Path) -> FileLock:
    # let go by whichever thread ends a session
    return FileLock(path.with_name(f"{path.name}.lock"), thread_local=False)


def _is_locked(path: Path) -> bool:
    try:
        with _lock(path).acquire(blocking=False):
            return False
    except Timeout:
        return True

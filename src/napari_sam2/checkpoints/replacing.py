"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file or folder to write beside ``path``, which becomes it when all went well.

    Whatever goes wrong, ``path`` stays as it was and nothing else is left behind.
    """
    partial = _partial(path, "part")
    try:
        yield partial
        if path.is_dir() and partial.is_dir():
            remove(path)
        partial.replace(path)
    finally:
        remove(partial)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there.

    A folder is gone at once, though its files take a while: none is ever there in part.
    """
    if path.is_dir() and not path.is_symlink():
        doomed = _partial(path, "gone")
        path.replace(doomed)
        shutil.rmtree(doomed)
    else:
        path.unlink(missing_ok=True)


def _partial(path: Path, what: str) -> Path:
    writer = f"{os.getpid()}-{threading.get_ident()}"  # several may write at the same time
    return path.with_name(f".{path.stem}.{writer}.{what}{path.suffix}")

"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a file to write in the same folder, which becomes ``path`` when all went well.

    Whatever goes wrong, ``path`` stays as it was and nothing else is left behind.
    """
    writer = f"{os.getpid()}-{threading.get_ident()}"  # several may write at the same time
    partial = path.with_name(f".{path.stem}.{writer}.part{path.suffix}")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)

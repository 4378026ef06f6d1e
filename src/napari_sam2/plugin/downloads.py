"""Downloads of published models, one at a time, beside everything else that goes on."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from napari.qt.threading import thread_worker
from psygnal import Signal
from qtpy.QtCore import QTimer

from napari_sam2.checkpoints.download import download
from napari_sam2.plugin.job_runner import Failure

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari_sam2.checkpoints.registry import Checkpoint

_SHOW_MS = 100


class Downloads:
    """Downloads a checkpoint in a thread of its own.

    Attributes
    ----------
    progressed : Signal(int, int)
        Emitted with the bytes that are there, and those of the whole or 0 while not known.
    ended : Signal(str)
        Emitted with the name of the checkpoint once it is there, or with "" when it is not.
    failed : Signal(object)
        Emitted with the exception that ended a download.
    """

    progressed = Signal(int, int)
    ended = Signal(str)
    failed = Signal(object)

    def __init__(self, fetch: Callable[..., Path | None] = download) -> None:
        self._fetch = fetch
        self._cancel: threading.Event | None = None
        self._bytes = (0, 0)
        # the thread reports every 64 kB; people need it less often
        self._timer = QTimer()
        self._timer.setInterval(_SHOW_MS)
        self._timer.timeout.connect(lambda: self.progressed.emit(*self._bytes))

    @property
    def is_busy(self) -> bool:
        """Whether a download is under way."""
        return self._cancel is not None

    def start(self, checkpoint: Checkpoint) -> None:
        """Start a download; does nothing while one is under way."""
        if self.is_busy:
            return
        cancel = self._cancel = threading.Event()
        self._bytes = (0, checkpoint.size or 0)
        self.progressed.emit(*self._bytes)

        def note(done: int, total: int | None) -> None:
            self._bytes = (done, total or 0)

        def work() -> Path | Failure | None:
            # errors leave as values: napari's worker drops some of them in silence
            try:
                return self._fetch(checkpoint, note, cancel.is_set)
            except Exception as error:
                return Failure(error)

        worker = thread_worker(work)()
        worker.returned.connect(lambda found: self._on_returned(cancel, checkpoint.name, found))
        self._timer.start()
        worker.start()

    def cancel(self) -> None:
        """Stop the download; what has arrived is kept for the next time."""
        if self._cancel is not None:
            self._cancel.set()

    def close(self) -> None:
        """Stop the download and listen to it no longer."""
        self.cancel()
        self._timer.stop()
        self._cancel = None

    def _on_returned(
        self, cancel: threading.Event, name: str, found: Path | Failure | None
    ) -> None:
        if cancel is not self._cancel:
            return  # closed in the meantime
        self._timer.stop()
        self._cancel = None
        if isinstance(found, Failure):
            self.failed.emit(found.error)
            found = None
        self.ended.emit(name if found else "")

"""Jobs in threads of their own."""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari.qt.threading import thread_worker
from psygnal import Signal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Failure:
    """What stopped a job."""

    error: Exception


class JobRunner:
    """Runs a generator in a worker thread and hands over what it yields.

    Signals are emitted in the thread that called `start`.

    Attributes
    ----------
    yielded : Signal(object)
        Emitted with everything that the job yields; a `Failure` is the last.
    finished : Signal()
        Emitted after the job has ended, for whatever reason.
    """

    yielded = Signal(object)
    finished = Signal()

    def __init__(self) -> None:
        self._worker: Any = None
        self._cancel = threading.Event()

    @property
    def is_busy(self) -> bool:
        """Whether a job is under way."""
        return self._worker is not None

    @property
    def is_cancelled(self) -> bool:
        """Whether the job, or the last one, was told to stop."""
        return self._cancel.is_set()

    def start(self, job: Callable[[], Iterator[object]]) -> None:
        """Start a job.

        Parameters
        ----------
        job : callable
            Gives the generator that does the work; stopping to iterate ends it.

        Raises
        ------
        RuntimeError
            When one is under way.
        """
        if self.is_busy:
            raise RuntimeError("A job is under way. Cancel it, or wait for it to finish.")
        self._cancel = threading.Event()
        self._worker = thread_worker(_steps)(job, self._cancel)
        self._worker.yielded.connect(self._on_yielded)
        self._worker.finished.connect(self._on_finished)
        self._worker.start()

    def cancel(self) -> None:
        """Stop the job after the step that it is at; does nothing without a job."""
        self._cancel.set()

    def close(self) -> None:
        """Stop the job and listen to it no longer."""
        self._cancel.set()
        if self._worker is not None:
            self._worker.yielded.disconnect(self._on_yielded)
            self._worker.finished.disconnect(self._on_finished)
            self._worker = None

    def _on_yielded(self, step: object) -> None:
        self.yielded.emit(step)

    def _on_finished(self) -> None:
        self._worker = None
        self.finished.emit()


class Jobs:
    """Short work in threads, any number at a time.

    Attributes
    ----------
    failed : Signal(object)
        Emitted with the exception that ended one, unless that is taken otherwise.
    """

    failed = Signal(object)

    def __init__(self) -> None:
        self._running: set[JobRunner] = set()

    def run(
        self,
        work: Callable[[], Any],
        take: Callable[[Any], object] = lambda _: None,
        failed: Callable[[Exception], object] | None = None,
    ) -> None:
        """Work in a thread, and take what it gives, or the error that ended it, in this one."""

        def steps() -> Iterator[object]:
            yield work()

        def on_yielded(found: object) -> None:
            if not isinstance(found, Failure):
                take(found)
            else:
                (failed or self.failed.emit)(found.error)

        job = JobRunner()
        self._running.add(job)
        job.yielded.connect(on_yielded)
        job.finished.connect(lambda: self._running.discard(job))
        job.start(steps)

    def close(self) -> None:
        """Take nothing any longer."""
        for job in self._running:
            job.close()


def _steps(job: Callable[[], Iterator[object]], cancel: threading.Event) -> Iterator[object]:
    # Errors leave as values: napari's worker drops a RuntimeError, torch's favourite, in silence.
    try:
        # Closed in this thread and before the next job starts, as both use the same predictor.
        with closing(job()) as steps:  # type: ignore[type-var]
            for step in steps:
                yield step
                if cancel.is_set():
                    return
    except Exception as error:
        yield Failure(error)

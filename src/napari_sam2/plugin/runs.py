"""Runs of the model: one at a time, their results into the session, their progress as signals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_sam2.inference.results import FrameResult
from napari_sam2.plugin.job_runner import Failure, JobRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_sam2.session.engine import Engine
    from napari_sam2.session.log import Outcome, Run
    from napari_sam2.session.session import Session
    from napari_sam2.session.stack_source import StackSource

_DONE, _FAILED = "Done", "Stopped by an error"
SEGMENTING, PROPAGATING = "Segmenting", "Propagating"


@dataclass(frozen=True)
class Note:
    """What the user should know of a model."""

    text: str


class Runs:
    """Starts and stops runs.

    Parameters
    ----------
    engine : Engine
        Runs the model; used by the worker alone.
    session : Session
        Takes the results.

    Attributes
    ----------
    status_changed : Signal(str)
        Emitted with a sentence on what is being done.
    progressed : Signal(int, int)
        Emitted with frames done and to do.
    running_changed : Signal(str)
        Emitted with the name of a run when it starts, and with "" when it has ended.
    noted : Signal(str)
        Emitted with what the user should know of a model that was loaded.
    failed : Signal(object)
        Emitted with the exception that ended a run.
    ended : Signal(object)
        Emitted with the `Run` after it has ended, for whatever reason, and another can start.
    """

    status_changed = Signal(str)
    progressed = Signal(int, int)
    running_changed = Signal(str)
    noted = Signal(str)
    failed = Signal(object)
    ended = Signal(object)

    def __init__(self, engine: Engine, session: Session) -> None:
        self._engine = engine
        self._session = session
        self._run: Run | None = None
        self._summary: Callable[[], str] = str
        self._seen: set[int] = set()
        self._done = 0  # of those in the range that was asked for
        self._outcome = ""
        self._runner = JobRunner()
        self._runner.yielded.connect(self._on_step)
        self._runner.finished.connect(self._on_finished)

    def set_memory(self, budget: int | None) -> None:
        """Let the model take up so many bytes from the next run on; None for a share."""
        self._engine.memory_budget = budget

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way."""
        return self._runner.is_busy

    @property
    def is_stopping(self) -> bool:
        """Whether the run that is under way was told to stop."""
        return self.is_busy and self._runner.is_cancelled

    def start(self, run: Run, source: StackSource, summary: Callable[[], str] = str) -> None:
        """Start a run; the one before must have ended.

        Parameters
        ----------
        run : Run
            What to do, as the session's log will say.
        source : StackSource
            The stack's pixels.
        summary : callable, optional
            Gives what the status says once it is done; by default, or where it gives nothing,
            the number of planes.
        """
        self._run, self._summary = run, summary
        self._seen, self._done, self._outcome = set(), 0, _DONE
        session, engine = self._session, self._engine
        session.begin_run(run)
        engine.memory = session.memory(run.stack)
        prompts, choices = session.prompts(run.stack), session.choices(run.stack)
        self.running_changed.emit(_name(run))
        self.progressed.emit(0, _length(run))
        self._runner.start(
            lambda: _work(engine, run, lambda: engine.run(run, source, prompts, choices))
        )

    def stop(self, outcome: str) -> None:
        """Stop after the frame that is being worked on; what was found stays.

        Parameters
        ----------
        outcome : str
            What the status then says: "Cancelled".
        """
        if self.is_busy:
            self._outcome = outcome
            self.status_changed.emit("Stopping…")
            self._runner.cancel()

    def close(self) -> None:
        """End the run as cancelled, and listen to the model no longer."""
        self._runner.close()
        if self._run is not None:
            self._run = None
            # what the model remembers is the worker's still, and needed no longer
            self._session.end_run("cancelled", None)

    def _on_step(self, step: object) -> None:
        assert self._run is not None
        if isinstance(step, FrameResult):
            first, last = self._run.frames
            self._done += step.frame not in self._seen and first <= step.frame <= last
            self._seen.add(step.frame)
            self.progressed.emit(self._done, _length(self._run))
            self._session.add_result(step)
        elif isinstance(step, Note):
            self.noted.emit(step.text)
        elif isinstance(step, Failure):
            self._outcome = _FAILED
            self.failed.emit(step.error)
        else:
            self.status_changed.emit(str(step))

    def _on_finished(self) -> None:
        assert self._run is not None
        run, self._run = self._run, None
        ended: dict[str, Outcome] = {_DONE: "done", _FAILED: "failed"}
        self._session.end_run(ended.get(self._outcome, "cancelled"), self._engine.memory)
        summary = self._summary() if self._outcome == _DONE else ""
        count = len(self._seen)
        if self._outcome == _DONE and _length(run) > 1:
            self.progressed.emit(count, count)  # objects may have ended before the range did
        counted = f"{self._outcome}: {count} plane{'' if count == 1 else 's'}"
        if not count and self._outcome == _DONE:
            counted = f"{_DONE}: nothing was to be computed"
        self.running_changed.emit("")
        self.status_changed.emit(summary or counted)
        self.ended.emit(run)


def _name(run: Run) -> str:
    return SEGMENTING if run.request is None else PROPAGATING


def _length(run: Run) -> int:
    return run.frames[1] - run.frames[0] + 1


def _work(
    engine: Engine, run: Run, steps: Callable[[], Iterator[FrameResult]]
) -> Iterator[str | Note | FrameResult]:
    if not engine.is_loaded(run.model):
        yield f"Loading the model {Path(run.model.name).name}…"
        engine.load(run.model)
        if engine.note:
            yield Note(engine.note)
    yield f"{_name(run)}…"
    yield from steps()

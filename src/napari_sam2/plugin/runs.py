"""Runs of the model: one at a time, their results into the session, their progress as signals."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_sam2.inference.results import FrameResult
from napari_sam2.plugin.job_runner import Failure, JobRunner

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_sam2.session.engine import Engine, ModelChoice, StackSource
    from napari_sam2.session.session import Session, StackKey

_DONE = "Done"


@dataclass(frozen=True)
class Note:
    """What the user should know of a model."""

    text: str


@dataclass(frozen=True, eq=False)
class Run:
    """One piece of work.

    Parameters
    ----------
    stack : StackKey
        The stack that it works on.
    frames : frozenset of int
        The frames that it will come by.
    name : str
        What it is called while it lasts: "Propagating".
    steps : callable
        Gives the generator that does the work, from an engine, a model and the stack's pixels.
    summary : callable, optional
        Gives what the status says once it is done; by default, or where it gives nothing, the
        number of planes.
    """

    stack: StackKey
    frames: frozenset[int]
    name: str
    steps: Callable[[Engine, ModelChoice, StackSource], Iterator[FrameResult]]
    summary: Callable[[], str] = str  # gives nothing


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
        self._seen: dict[int, FrameResult] = {}
        self._outcome = ""
        self._runner = JobRunner()
        self._runner.yielded.connect(self._on_step)
        self._runner.finished.connect(self._on_finished)

    @property
    def is_busy(self) -> bool:
        """Whether a run is under way."""
        return self._runner.is_busy

    def start(self, run: Run, model: ModelChoice, source: StackSource) -> None:
        """Start a run; the one before must have ended."""
        self._run, self._seen, self._outcome = run, {}, _DONE
        engine = self._engine
        self.running_changed.emit(run.name)
        self.progressed.emit(0, len(run.frames))
        self._runner.start(lambda: _work(engine, model, source, run))

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
        """Stop the run and listen to it no longer."""
        self._runner.close()

    def _on_step(self, step: object) -> None:
        assert self._run is not None
        if isinstance(step, FrameResult):
            self._seen[step.frame] = step
            self.progressed.emit(len(self._run.frames & self._seen.keys()), len(self._run.frames))
            self._session.add_result(self._run.stack, step)
        elif isinstance(step, Note):
            self.noted.emit(step.text)
        elif isinstance(step, Failure):
            self._outcome = "Stopped by an error"
            self.failed.emit(step.error)
        else:
            self.status_changed.emit(str(step))

    def _on_finished(self) -> None:
        assert self._run is not None
        run, self._run = self._run, None
        summary = ""
        if self._outcome == _DONE:
            self._forget_beyond_end(run)
            summary = run.summary()
        count = len(self._seen)
        if self._outcome == _DONE and len(run.frames) > 1:
            self.progressed.emit(count, count)  # objects may have ended before the range did
        counted = f"{self._outcome}: {count} plane{'' if count == 1 else 's'}"
        self.running_changed.emit("")
        self.status_changed.emit(summary or counted)
        self.ended.emit(run)

    def _forget_beyond_end(self, run: Run) -> None:
        """Remove what earlier runs had found of an object where this one had seen it end."""
        seen: dict[int, dict[int, bool]] = {}
        for frame, result in self._seen.items():
            for object_id, present in zip(result.object_ids, result.present, strict=True):
                seen.setdefault(object_id, {})[frame] = bool(present)
        for object_id, present_on in seen.items():
            frames = sorted(present_on)
            for frame in run.frames.intersection(self._session.frames(run.stack)) - set(frames):
                place = bisect(frames, frame)
                around = frames[max(place - 1, 0) : place + 1]
                if not all(present_on[near] for near in around):
                    self._session.remove_mask(run.stack, object_id, frame)


def _work(
    engine: Engine, model: ModelChoice, source: StackSource, run: Run
) -> Iterator[str | Note | FrameResult]:
    if not engine.is_loaded(model):
        yield f"Loading the model {Path(model.name).name}…"
        engine.load(model)
        if engine.note:
            yield Note(engine.note)
    yield f"{run.name}…"
    yield from run.steps(engine, model, source)

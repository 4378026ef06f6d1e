"""Keeps a model and a video predictor in step with what the user asked for.

Nothing here is safe for two threads at once: whoever owns an `Engine` uses it from one at a time.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_sam2.session.predictors import Predictors, load_chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.inference.results import FrameResult
    from napari_sam2.inference.video.video_predictor import Direction
    from napari_sam2.session.log import Run
    from napari_sam2.session.predictors import Predictor
    from napari_sam2.session.stack_source import StackSource
    from napari_sam2.session.values import ModelChoice

# what a run says of models, images and prompts that cannot be used
FORESEEN = (ValueError, TypeError, OSError)
NO_CHOICES: Mapping[tuple[int, int], int] = MappingProxyType({})


@dataclass(frozen=True, eq=False)
class Memory:
    """What a model remembers of a stack after a run; the next run can start from there.

    Parameters
    ----------
    model : ModelChoice
        The model.
    source : StackSource
        The stack.
    snapshot : object
        What its predictor knew, as its own `restore` takes it.
    sent : mapping of (int, int) to (tuple of Prompt, int or None)
        The prompts that the predictor was given for each (object, frame), and the candidate that
        was chosen for them.
    """

    model: ModelChoice
    source: StackSource
    snapshot: Any
    sent: Mapping[tuple[int, int], tuple[tuple[Prompt, ...], int | None]]

    def serves(self, model: ModelChoice, source: StackSource) -> bool:
        """Whether it is of this model and these pixels."""
        return self.model == model and source.same_pixels(self.source)


class Engine:
    """Runs the model for one stack at a time, and sends it only what has changed.

    A run starts from `memory` and leaves there what the next one can start from; one that fails
    leaves it as it was. Whoever sets it back to an earlier value gets what would have come had
    nothing been run since.

    Parameters
    ----------
    load_model : callable
        Makes a model from a `ModelChoice`.
    make_predictor : callable
        Makes a predictor from a model, a `StackSource` and a memory budget; by default one that
        shares the budget with those of other stacks.

    Attributes
    ----------
    memory : Memory or None
        What the last run left that did not fail; None makes the next one begin anew, with all
        prompts.
    memory_budget : int or None
        Bytes that encoded planes, and what is remembered of all stacks, may take up from the next
        run on; None for a share of what is free.
    """

    def __init__(
        self,
        load_model: Callable[[ModelChoice], Any] = load_chosen,
        make_predictor: Callable[[Any, StackSource, int | None], Predictor] | None = None,
    ) -> None:
        self._load_model = load_model
        self._make_predictor = make_predictor or Predictors()
        self._choice: ModelChoice | None = None
        self._model: Any = None
        self.memory: Memory | None = None
        self.memory_budget: int | None = None
        self._budget: int | None = None  # of the predictor
        self._source: StackSource | None = None
        self._predictor: Predictor | None = None
        self._blank: Memory | None = None  # of the predictor before its first prompt
        self._held: Memory | None = None  # what the predictor knows now
        self._sent: dict[tuple[int, int], tuple[tuple[Prompt, ...], int | None]] = {}
        self._changed = False  # whether the run has changed what the predictor knows

    @property
    def note(self) -> str:
        """What a user should know of the loaded model before propagating; mostly empty."""
        return "" if self._model is None else str(self._model.note)

    def is_loaded(self, choice: ModelChoice) -> bool:
        """Whether this model is the one in memory."""
        return self._choice == choice

    def load(self, choice: ModelChoice) -> None:
        """Load a model, unless it is the one in memory.

        Raises
        ------
        ValueError, OSError
            When it cannot be loaded.
        """
        if self._choice != choice:
            # Forgotten first, so that two models never fill the memory together.
            self._forget_predictor()
            self._choice = self._model = None
            self._model = self._load_model(choice)
            self._choice = choice

    def run(
        self,
        run: Run,
        source: StackSource,
        prompts: Mapping[tuple[int, int], tuple[Prompt, ...]],
        choices: Mapping[tuple[int, int], int],
    ) -> Iterator[FrameResult]:
        """Do what a run of the log says, by `run_frames` or `propagate`."""
        if run.request is None:
            first, last = run.frames
            return self.run_frames(run.model, source, prompts, range(first, last + 1), choices)
        asked = run.request
        return self.propagate(
            run.model,
            source,
            prompts,
            asked.direction,
            asked.limits,
            asked.stop_when_absent,
            choices,
            asked.objects,
        )

    def run_frames(
        self,
        choice: ModelChoice,
        source: StackSource,
        prompts: Mapping[tuple[int, int], tuple[Prompt, ...]],
        frames: Collection[int],
        choices: Mapping[tuple[int, int], int] = NO_CHOICES,
    ) -> Iterator[FrameResult]:
        """Apply the prompts of some frames.

        Parameters
        ----------
        choice : ModelChoice
            The model.
        source : StackSource
            The stack.
        prompts : mapping of (int, int) to tuple of Prompt
            All prompts of the stack, by (object, frame).
        frames : collection of int
            Indices along the frame axis.
        choices : mapping of (int, int) to int
            Candidates that were chosen, by (object, frame).

        Yields
        ------
        FrameResult
            A frame, after each object whose prompts or choice on it have changed.

        Raises
        ------
        ValueError, OSError, TypeError
            When the model cannot be loaded, or image or prompts cannot be used.
        """
        with self._prepared(choice, source) as predictor:
            yield from self._send(predictor, prompts, choices, frames)

    def propagate(
        self,
        choice: ModelChoice,
        source: StackSource,
        prompts: Mapping[tuple[int, int], tuple[Prompt, ...]],
        direction: Direction = "both",
        limits: tuple[int, int] | None = None,
        stop_when_absent: int | None = None,
        choices: Mapping[tuple[int, int], int] = NO_CHOICES,
        objects: Collection[int] | None = None,
    ) -> Iterator[FrameResult]:
        """Apply all prompts, then carry every object outward from its own.

        Parameters
        ----------
        choice, source, prompts, choices
            As for `run_frames`.
        direction : {"both", "forward", "backward"}
            Where to go from the prompts.
        limits : tuple of int, optional
            The first and the last frame to go to; by default the whole stack.
        stop_when_absent : int, optional
            Leave an object after so many frames without it; by default never.
        objects : collection of int, optional
            Carry these alone, where they have prompts; by default every one.

        Yields
        ------
        FrameResult
            A frame after each change of it.

        Raises
        ------
        ValueError, OSError, TypeError
            As for `run_frames`.
        """
        with self._prepared(choice, source) as predictor:
            frames = {frame for _, frame in (*prompts, *self._sent)}
            yield from self._send(predictor, prompts, choices, frames)
            self._changed = True
            start, stop = _range(direction, limits)
            carried = None if objects is None else {o for o, _ in prompts}.intersection(objects)
            for result in predictor.propagate(
                direction=direction,
                start=start,
                stop=stop,
                stop_when_absent=stop_when_absent,
                object_ids=carried,
            ):
                yield (
                    result if carried is None else result.of(carried | self._prompted(result.frame))
                )

    @contextmanager
    def _prepared(self, choice: ModelChoice, source: StackSource) -> Iterator[Predictor]:
        self.load(choice)
        known = source.same_pixels(self._source) and self._budget == self.memory_budget
        if self._predictor is None or not known:
            self._forget_predictor()
            self._budget = self.memory_budget
            self._predictor = self._make_predictor(self._model, source, self._budget)
            self._source = source
            self._blank = self._held = Memory(choice, source, self._predictor.snapshot(), {})
        start = self.memory
        if start is None or not start.serves(choice, source):
            start = self._blank
        assert start is not None
        if start is not self._held:
            self._predictor.restore(start.snapshot)
        if hasattr(self._predictor, "view"):  # of a single plane
            self._predictor.view = source.view
        self._sent, self._changed = dict(start.sent), False
        self._held = None  # not known until the run has ended
        failed = False
        try:
            yield self._predictor
        except Exception as error:
            failed = True
            # Knowing no longer what it holds, the next run restores what it starts from, and after
            # an error that nobody foresaw not even in this predictor.
            if not isinstance(error, FORESEEN):
                self._forget_predictor()
            raise
        finally:
            if not failed:
                if self._changed:
                    start = Memory(choice, source, self._predictor.snapshot(), dict(self._sent))
                self.memory = self._held = start

    def _forget_predictor(self) -> None:
        self._predictor = self._source = self._blank = self._held = None

    def _send(
        self,
        predictor: Predictor,
        prompts: Mapping[tuple[int, int], tuple[Prompt, ...]],
        choices: Mapping[tuple[int, int], int],
        frames: Collection[int],
    ) -> Iterator[FrameResult]:
        # on all frames: an object that was deleted must not come back with another's mask
        for object_id, frame in list(self._sent):
            if (object_id, frame) not in prompts:
                self._changed = True
                del self._sent[object_id, frame]
                if any(other == object_id for other, _ in self._sent):
                    predictor.remove_prompts(object_id=object_id, frame=frame, keep_mask=False)
                else:
                    predictor.remove_object(object_id)
        for key, wanted in sorted(prompts.items(), key=lambda item: item[0]):
            candidate = choices.get(key)
            sent, chosen = self._sent.get(key, ((), None))
            if key[1] not in frames or (sent, chosen) == (wanted, candidate):
                continue
            self._changed = True
            object_id, frame = key
            if sent != wanted:
                result = predictor.add_prompts(
                    object_id=object_id, frame=frame, prompts=list(wanted)
                )
                chosen = None
            if chosen != candidate:
                result = predictor.choose_candidate(object_id, frame, candidate)
            self._sent[key] = (wanted, candidate)
            # of the others the session may know more: what was painted, erased, split or merged
            yield result.of(self._prompted(frame))

    def _prompted(self, frame: int) -> set[int]:
        """The objects with prompts on a frame."""
        return {object_id for object_id, at in self._sent if at == frame}


def _range(direction: Direction, limits: tuple[int, int] | None) -> tuple[int | None, int | None]:
    if limits is None:
        return None, None
    first, last = limits
    # In one direction a start would drag every object there from wherever its prompts are.
    return {"both": (first, last), "forward": (None, last), "backward": (None, first)}[direction]

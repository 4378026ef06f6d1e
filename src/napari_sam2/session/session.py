"""The session: objects, the prompts given for them and the masks found.

Everything is a value at a place, and every change tells the value before and after: undo puts the
one back, redo the other. Changes are made in steps, each of which is undone at once.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

from psygnal import Signal

from napari_sam2.inference.prompts import MaskPrompt
from napari_sam2.session.contents import NOTHING, Contents
from napari_sam2.session.edits import changes_of
from napari_sam2.session.history import Change, Place
from napari_sam2.session.log import (
    AddObject,
    ChangeObject,
    Choose,
    RemoveMask,
    Reopen,
    Run,
    SetPrompts,
    SplitObject,
)
from napari_sam2.session.masks import masks_of, plane_mask
from napari_sam2.session.values import FrameChange, StackKey, default_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.inference.results import FrameResult
    from napari_sam2.session.engine import Memory
    from napari_sam2.session.log import Command, Edit, Outcome
    from napari_sam2.session.pass_request import PassRequest
    from napari_sam2.session.values import ObjectMask, TrackedObject


class Session(Contents):
    """Objects, prompts and masks of one viewer.

    Attributes
    ----------
    object_changed : Signal(int)
        Emitted with its number after an object was added, changed or removed.
    prompts_changed : Signal(StackKey, int, int)
        Emitted with the stack, the object and the frame after their prompts, or the candidate
        chosen for them, were changed.
    masks_changed : Signal(FrameChange)
        Emitted after masks of a frame were changed.
    """

    object_changed = Signal(int)
    prompts_changed = Signal(StackKey, int, int)
    masks_changed = Signal(FrameChange)

    def __init__(self) -> None:
        super().__init__()
        self._run: Run | None = None
        self._present: dict[int, dict[int, bool]] = {}  # in the results of the run: object, frame

    def apply(self, edit: Edit) -> None:
        """Carry out an edit, as the methods below do, and note it in the log.

        Raises
        ------
        ValueError, KeyError
            When it cannot be.
        """
        if self._run is not None:
            # The log would say that the edit was made before the run, which did not know of it.
            raise RuntimeError("The model is running. Wait until that run has ended.")
        changes = [change for change in changes_of(edit, self) if change.before is not change.after]
        if changes:
            with self.step():
                assert self._history.open is not None
                self._history.open.commands.append(edit)
                self._make(changes)

    def add_object(self, object_id: int | None = None, name: str | None = None) -> TrackedObject:
        """Add an object.

        Parameters
        ----------
        object_id : int, optional
            Its number, 1 or more. By default one more than the largest so far.
        name : str, optional
            By default "object" and its number.

        Returns
        -------
        TrackedObject
            The new object, or the one that already has this number.

        Raises
        ------
        ValueError
            When the number is less than 1, which labels keep for the background.
        """
        if object_id is None:
            object_id = max(self._table("object", None), default=0) + 1
        self.apply(AddObject(object_id, name or default_name(object_id)))
        return self.find_object(object_id)

    def change_object(
        self, object_id: int, name: str | None = None, visible: bool | None = None
    ) -> None:
        """Rename, hide or show an object; None leaves as it is. A KeyError as in `find_object`."""
        held = self.find_object(object_id)
        if name is not None:
            verb = "Rename"
        else:
            verb = "Show" if visible else "Hide"
        with self.step(f"{verb} object {object_id}"):
            self.apply(
                ChangeObject(
                    object_id,
                    held.name if name is None else name,
                    held.visible if visible is None else visible,
                )
            )

    def split_object(
        self, stack: StackKey, object_id: int, frame: int, part: int, plane_shape: tuple[int, int]
    ) -> None:
        """Make another object of what an object is from a frame on.

        A part that has masks but no prompt gets its mask next to the cut as one, as it could not
        be carried on without.

        Parameters
        ----------
        stack : StackKey
            The stack of the frame.
        object_id, frame : int
            The object, and the first frame that it loses.
        part : int
            The number of the new object.
        plane_shape : tuple of int
            (rows, columns) of the stack's planes.

        Raises
        ------
        ValueError
            When nothing is left on one side of the cut, or the number is taken.
        KeyError
            When there is no such object.
        """
        self.find_object(object_id)
        prompted = {at for held, at in self.prompts(stack) if held == object_id}
        masks = {at: self.masks(stack, at).get(object_id) for at in self.frames(stack)}
        seen = {at: mask for at, mask in masks.items() if mask is not None and mask.present}
        used = sorted({*prompted, *seen})
        before, after = ([at for at in used if (at < frame) is side] for side in (True, False))
        if not (before and after):
            raise ValueError(
                f"Object {object_id} cannot be split at plane {frame}: it has nothing on one side "
                "of it. Go to a plane where it goes on with the wrong one."
            )
        with self.step():
            self.apply(SplitObject(stack, object_id, frame, part))
            for owner, at, frames in ((object_id, before[-1], before), (part, after[0], after)):
                if not prompted.intersection(frames):
                    mask = MaskPrompt(plane_mask(seen[at], plane_shape))
                    self.set_prompts(stack, owner, at, (mask,))

    def set_prompts(
        self, stack: StackKey, object_id: int, frame: int, prompts: Sequence[Prompt]
    ) -> None:
        """Replace the prompts of an object on a frame; none removes them.

        A candidate that was chosen for the earlier prompts is chosen no longer.

        Parameters
        ----------
        stack : StackKey
            The stack of the frame.
        object_id : int
            The object, added where it is new.
        frame : int
            Index along the frame axis.
        prompts : sequence of Prompt
            The whole set, checked before by `check_prompts`.
        """
        self.apply(SetPrompts(stack, object_id, frame, tuple(prompts)))

    def choose(self, stack: StackKey, object_id: int, frame: int, index: int | None) -> None:
        """Choose among the candidates for an object's prompts on a frame.

        Parameters
        ----------
        stack : StackKey
            The stack of the frame.
        object_id, frame : int
            Of the prompts.
        index : int or None
            The candidate, 0 for the first of the predictor's; None leaves the choice to the model.

        Raises
        ------
        KeyError
            When the object has no prompts there.
        """
        self.apply(Choose(stack, object_id, frame, index))

    def remove_mask(self, stack: StackKey, object_id: int, frame: int) -> None:
        """Forget the mask of an object on a frame; does nothing where there is none."""
        self.apply(RemoveMask(stack, object_id, frame))

    def begin_run(self, run: Run) -> None:
        """Note that the model starts to run; what follows until `end_run` is one step with it."""
        if self._run is not None:
            raise RuntimeError("The model is running. End that run before the next one begins.")
        self._history.begin("")
        assert self._history.open is not None
        self._history.open.commands.append(run)
        self._run, self._present = run, {}

    def add_result(self, result: FrameResult) -> None:
        """Take the masks of a result of the run; objects that it does not carry keep theirs."""
        run = self._note(results=self._running.results + 1)
        for object_id, present in zip(result.object_ids, result.present, strict=True):
            self._present.setdefault(object_id, {})[result.frame] = bool(present)
        before = self.masks(run.stack, result.frame)
        found = masks_of(result, self._table("prompts", run.stack), before)
        if any(before.get(object_id) is not mask for object_id, mask in found.items()):
            # Never changed in place: a FrameChange that somebody keeps must stay true.
            after = MappingProxyType({**before, **found})
            self._make([Change(Place("masks", run.stack, result.frame), before or None, after)])

    def end_run(self, outcome: Outcome, memory: Memory | None) -> None:
        """Note that the run has ended; one that found nothing to do leaves no trace.

        Parameters
        ----------
        outcome : {"done", "cancelled", "failed"}
            How.
        memory : Memory or None
            What the model remembers now; after a failure it is what it was before the run.
        """
        run = self._note(outcome=outcome)
        before = self.memory(run.stack)
        if outcome == "failed":
            memory = before
        if outcome == "done" and run.request is not None:
            self._forget_beyond_end(run, run.request)
        self._make([Change(Place("memory", run.stack, None), before, memory)])
        if not run.results and memory is before:
            assert self._history.open is not None
            self._history.open.commands.pop()
        self._run = None
        if self._history.end():
            self.history_changed.emit()

    def reopen(
        self,
        log: Sequence[Command],
        masks: Mapping[StackKey, Mapping[int, Mapping[int, ObjectMask]]],
    ) -> None:
        """Take in a session that was saved, as one step.

        Parameters
        ----------
        log : sequence of Command
            What was done in it.
        masks : mapping of StackKey to mapping of int to mapping of int to ObjectMask
            Its masks, by stack, frame and object.

        Raises
        ------
        ValueError, KeyError
            When the log contradicts itself.
        """
        with self.step("Open the session"):
            assert self._history.open is not None
            for command in log:
                if not isinstance(command, Run):
                    self.apply(command)
            # all of it, although runs and some edits of their masks did nothing just now
            self._history.open.commands[:] = [*log, Reopen()]
            for stack, frames in masks.items():
                for frame, found in frames.items():
                    place = Place("masks", stack, frame)
                    self._make([Change(place, self.value(place), found)])
            # of other images, too: what is said in the log must be true
            self._make(changes_of(Reopen(), self))

    @property
    def _running(self) -> Run:
        if self._run is None:
            raise RuntimeError("The model is not running. Call begin_run first.")
        return self._run

    def _note(self, **fields: Any) -> Run:
        """Bring the log's entry of the run up to date."""
        self._run = replace(self._running, **fields)
        assert self._history.open is not None
        self._history.open.commands[-1] = self._run
        return self._run

    def _forget_beyond_end(self, run: Run, request: PassRequest) -> None:
        """Remove what earlier runs had found of an object where this one had seen it end."""
        for object_id, present in self._present.items():
            if not request.carries(object_id):
                continue
            seen = sorted(present)
            for frame in self.frames(run.stack):
                if frame in present or not run.frames[0] <= frame <= run.frames[1]:
                    continue
                place = bisect(seen, frame)
                if not all(present[near] for near in seen[max(place - 1, 0) : place + 1]):
                    self._make(changes_of(RemoveMask(run.stack, object_id, frame), self))

    def _tell(self, change: Change) -> None:
        kind, stack, key = change.place
        if kind == "object":
            self.object_changed.emit(key)
        elif kind in ("prompts", "choice"):
            self.prompts_changed.emit(stack, *cast("tuple[int, int]", key))
        elif kind == "masks":
            masks = FrameChange(
                cast("StackKey", stack),
                cast("int", key),
                change.before or NOTHING,
                change.after or NOTHING,
            )
            self.masks_changed.emit(masks)

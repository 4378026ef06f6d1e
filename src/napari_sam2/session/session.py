"""What the user has done: objects, the prompts given for them and the masks found.

A change is made through a method of `Session` alone, and each method tells what it changed with
the state before and after. That is all that undo, saving and a display need.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from psygnal import Signal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_sam2.inference.crops import MaskCrop
    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.inference.results import FrameResult


@dataclass(frozen=True)
class StackKey:
    """Which planes of which image are meant.

    Moving the slider of an axis that is not the frame axis, or turning the stack to another
    side, leads to another stack with its own prompts and masks; going back finds them again.

    Parameters
    ----------
    image : str
        What identifies the image.
    plane_axes : tuple of int
        The two axes of the image that make the plane, in ascending order.
    frame_axis : int or None
        The axis that frames lie along; None where the image is one plane.
    fixed : tuple of (int, int)
        (axis, index) of every other axis, in ascending order.
    """

    image: str
    plane_axes: tuple[int, int]
    frame_axis: int | None
    fixed: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class TrackedObject:
    """Something that gets one label.

    Parameters
    ----------
    object_id : int
        Its number and its label, 1 or more.
    name : str
        What the user calls it.
    """

    object_id: int
    name: str


@dataclass(frozen=True, eq=False)
class ObjectMask:
    """The mask of one object on one frame.

    Parameters
    ----------
    crop : MaskCrop
        The mask as its bounding box; empty where the object is absent.
    score : float
        The model's own estimate of the mask's IoU, 0 to 1.
    present : bool
        Whether the model sees the object on this frame.
    """

    crop: MaskCrop
    score: float
    present: bool


@dataclass(frozen=True, eq=False)
class FrameChange:
    """The masks of one frame before and after a change.

    Parameters
    ----------
    stack : StackKey
        The stack of the frame.
    frame : int
        Index along the frame axis.
    before, after : mapping of int to ObjectMask
        The mask of each object.
    """

    stack: StackKey
    frame: int
    before: Mapping[int, ObjectMask]
    after: Mapping[int, ObjectMask]


@dataclass
class _StackRecord:
    prompts: dict[tuple[int, int], tuple[Prompt, ...]] = field(default_factory=dict)
    choices: dict[tuple[int, int], int] = field(default_factory=dict)
    masks: dict[int, Mapping[int, ObjectMask]] = field(default_factory=dict)


class Session:
    """Objects, prompts and masks of one viewer.

    Attributes
    ----------
    object_added : Signal(TrackedObject)
        Emitted after an object was added.
    prompts_changed : Signal(StackKey, int, int)
        Emitted with the stack, the object and the frame after their prompts, or the candidate
        chosen for them, were changed.
    masks_changed : Signal(FrameChange)
        Emitted after masks of a frame were changed.
    """

    object_added = Signal(TrackedObject)
    prompts_changed = Signal(StackKey, int, int)
    masks_changed = Signal(FrameChange)

    def __init__(self) -> None:
        self._objects: dict[int, TrackedObject] = {}
        self._stacks: dict[StackKey, _StackRecord] = {}

    @property
    def objects(self) -> tuple[TrackedObject, ...]:
        """Every object, in the order of their numbers."""
        return tuple(self._objects[object_id] for object_id in sorted(self._objects))

    @property
    def stacks(self) -> tuple[StackKey, ...]:
        """Every stack with prompts or masks, in the order of their first use."""
        return tuple(self._stacks)

    def prompts(self, stack: StackKey) -> Mapping[tuple[int, int], tuple[Prompt, ...]]:
        """Prompts of a stack, by (object, frame)."""
        return MappingProxyType(dict(self._record(stack).prompts))

    def choices(self, stack: StackKey) -> Mapping[tuple[int, int], int]:
        """Candidates that were chosen, by (object, frame); 0 is the one with the highest score."""
        return MappingProxyType(dict(self._record(stack).choices))

    def frames(self, stack: StackKey) -> tuple[int, ...]:
        """Frames of a stack that have masks, in ascending order."""
        return tuple(sorted(self._record(stack).masks))

    def masks(self, stack: StackKey, frame: int) -> Mapping[int, ObjectMask]:
        """Masks of a frame, by object; empty where there is none."""
        return self._record(stack).masks.get(frame, MappingProxyType({}))

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
            object_id = max(self._objects, default=0) + 1
        if object_id < 1:
            raise ValueError(f"Object {object_id} cannot be: objects are numbered from 1.")
        if object_id not in self._objects:
            added = TrackedObject(object_id, name or f"object {object_id}")
            self._objects[object_id] = added
            self.object_added.emit(added)
        return self._objects[object_id]

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
        record, key = self._keep(stack), (object_id, frame)
        held = record.prompts
        if tuple(prompts) == held.get(key, ()):
            return
        record.choices.pop(key, None)
        if prompts:
            self.add_object(object_id)
            held[key] = tuple(prompts)
        else:
            del held[key]
        self.prompts_changed.emit(stack, object_id, frame)

    def choose(self, stack: StackKey, object_id: int, frame: int, index: int | None) -> None:
        """Choose among the candidates for an object's prompts on a frame.

        Parameters
        ----------
        stack : StackKey
            The stack of the frame.
        object_id, frame : int
            Of the prompts.
        index : int or None
            The candidate, 0 for the highest score; None leaves the choice to the model.

        Raises
        ------
        KeyError
            When the object has no prompts there.
        """
        record, key = self._record(stack), (object_id, frame)
        if key not in record.prompts:
            raise KeyError(f"Object {object_id} has no prompts on frame {frame}.")
        if index == record.choices.get(key):
            return
        if index is None:
            del record.choices[key]
        else:
            record.choices[key] = index
        self.prompts_changed.emit(stack, object_id, frame)

    def add_result(self, stack: StackKey, result: FrameResult) -> None:
        """Take the masks of a result; objects that it does not carry keep theirs.

        Parameters
        ----------
        stack : StackKey
            The stack that the result was made from.
        result : FrameResult
            What a predictor returned.
        """
        found = {
            object_id: ObjectMask(crop, float(score), bool(present))
            for object_id, crop, score, present in zip(
                result.object_ids, result.crops, result.scores, result.present, strict=True
            )
        }
        if found:
            before = self.masks(stack, result.frame)
            self._replace_masks(stack, result.frame, {**before, **found})

    def remove_mask(self, stack: StackKey, object_id: int, frame: int) -> None:
        """Forget the mask of an object on a frame; does nothing where there is none."""
        before = self.masks(stack, frame)
        if object_id in before:
            after = {key: mask for key, mask in before.items() if key != object_id}
            self._replace_masks(stack, frame, after)

    def _replace_masks(self, stack: StackKey, frame: int, after: Mapping[int, ObjectMask]) -> None:
        before = self.masks(stack, frame)
        masks = self._keep(stack).masks
        # Never changed in place: a FrameChange that somebody keeps must stay true.
        masks[frame] = MappingProxyType(dict(after))
        if not after:
            del masks[frame]
        self.masks_changed.emit(FrameChange(stack, frame, before, masks.get(frame, {})))

    def _record(self, stack: StackKey) -> _StackRecord:
        return self._stacks.get(stack, _StackRecord())

    def _keep(self, stack: StackKey) -> _StackRecord:
        return self._stacks.setdefault(stack, _StackRecord())

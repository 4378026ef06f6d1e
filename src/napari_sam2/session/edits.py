"""What an edit changes in a session."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from napari_sam2.inference.prompts import BoxPrompt
from napari_sam2.session.history import Change, Place
from napari_sam2.session.log import (
    AddObject,
    ChangeObject,
    Choose,
    MergeObjects,
    Paint,
    RemoveMask,
    RemoveObject,
    Reopen,
    SetPrompts,
    SplitObject,
)
from napari_sam2.session.masks import given_mask, merged
from napari_sam2.session.values import TrackedObject, default_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam2.session.contents import Contents
    from napari_sam2.session.log import Edit
    from napari_sam2.session.values import ObjectMask, StackKey


def changes_of(edit: Edit, session: Contents) -> list[Change]:
    """Say what an edit changes, as the session is now; raises as `Session.apply` does."""
    match edit:
        case AddObject(object_id, name):
            return _added(session, object_id, name)
        case ChangeObject(object_id, name, visible):
            held = session.find_object(object_id)
            after = TrackedObject(object_id, name, visible)
            return [] if after == held else [_change(session, _object(object_id), after)]
        case RemoveObject(object_id):
            session.find_object(object_id)
            return _removed(session, object_id)
        case MergeObjects(object_id, other):
            return _merged(session, object_id, other)
        case SplitObject(stack, object_id, frame, part):
            return _split(session, stack, object_id, frame, part)
        case SetPrompts(stack, object_id, frame, prompts):
            return _prompted(session, stack, object_id, frame, prompts)
        case Paint(stack, object_id, frame, mask):
            painted = {**session.masks(stack, frame), object_id: given_mask(mask)}
            prompted = _prompted(session, stack, object_id, frame, (mask,))
            return [*prompted, _masks(session, stack, frame, painted)]
        case Choose(stack, object_id, frame, index):
            key = (object_id, frame)
            if key not in session.table("prompts", stack):
                raise KeyError(f"Object {object_id} has no prompts on frame {frame}.")
            return [_change(session, Place("choice", stack, key), index)]
        case RemoveMask(stack, object_id, frame):
            masks = session.masks(stack, frame)
            left = {key: mask for key, mask in masks.items() if key != object_id}
            return [_masks(session, stack, frame, left)] if object_id in masks else []
        case Reopen():
            return [_change(session, Place("memory", s, None), None) for s in session.stacks]


def _change(session: Contents, place: Place, after: Any) -> Change:
    return Change(place, session.value(place), after)


def _masks(
    session: Contents, stack: StackKey, frame: int, after: Mapping[int, ObjectMask]
) -> Change:
    return _change(
        session, Place("masks", stack, frame), MappingProxyType(dict(after)) if after else None
    )


def _object(object_id: int) -> Place:
    return Place("object", None, object_id)


def _added(session: Contents, object_id: int, name: str) -> list[Change]:
    if object_id < 1:
        raise ValueError(f"Object {object_id} cannot be: objects are numbered from 1.")
    place = _object(object_id)
    if session.value(place) is not None:
        return []
    return [Change(place, None, TrackedObject(object_id, name))]


def _prompted(
    session: Contents, stack: StackKey, object_id: int, frame: int, prompts: tuple[Any, ...]
) -> list[Change]:
    key = (object_id, frame)
    place = Place("prompts", stack, key)
    if prompts == (session.value(place) or ()):
        return []
    added = _added(session, object_id, default_name(object_id)) if prompts else []
    # A candidate was chosen for the earlier prompts.
    chosen = _change(session, Place("choice", stack, key), None)
    return [*added, chosen, _change(session, place, prompts or None)]


def _removed(session: Contents, object_id: int) -> list[Change]:
    changes = []
    for stack in session.stacks:
        for kind in ("prompts", "choice"):
            for key in session.table(kind, stack):
                if key[0] == object_id:
                    changes.append(_change(session, Place(kind, stack, key), None))
        for frame in session.frames(stack):
            masks = session.masks(stack, frame)
            if object_id in masks:
                left = {key: mask for key, mask in masks.items() if key != object_id}
                changes.append(_masks(session, stack, frame, left))
    return [*changes, _change(session, _object(object_id), None)]


def _merged(session: Contents, object_id: int, other: int) -> list[Change]:
    session.find_object(object_id)
    session.find_object(other)
    if object_id == other:
        raise ValueError(f"Object {other} cannot be merged with itself. Choose another one.")
    changes = {change.place: change for change in _removed(session, other)}
    for stack in session.stacks:
        for held, frame in session.prompts(stack):
            if held == other:
                for change in _joined(session, stack, object_id, other, frame):
                    changes[change.place] = change
        for frame in session.frames(stack):
            masks = dict(session.masks(stack, frame))
            taken = masks.pop(other, None)
            if taken is not None:
                own = masks.get(object_id)
                masks[object_id] = taken if own is None else merged(own, taken)
                change = _masks(session, stack, frame, masks)
                changes[change.place] = change
    return list(changes.values())


def _joined(
    session: Contents, stack: StackKey, object_id: int, other: int, frame: int
) -> list[Change]:
    prompts = session.prompts(stack)
    both = (*prompts.get((object_id, frame), ()), *prompts[other, frame])
    if sum(isinstance(prompt, BoxPrompt) for prompt in both) > 1:
        raise ValueError(
            f"Objects {object_id} and {other} both have a box on plane {frame}, but one object can "
            "have one. Remove one of the boxes first."
        )
    return _prompted(session, stack, object_id, frame, both)


def _split(session: Contents, stack: StackKey, object_id: int, cut: int, part: int) -> list[Change]:
    session.find_object(object_id)
    if session.value(_object(part)) is not None:
        raise ValueError(f"There is an object {part} already. Choose a number that is free.")
    changes = _added(session, part, default_name(part))
    for kind in ("prompts", "choice"):
        for key, value in session.table(kind, stack).items():
            if key[0] == object_id and key[1] >= cut:
                changes.append(_change(session, Place(kind, stack, key), None))
                changes.append(_change(session, Place(kind, stack, (part, key[1])), value))
    for frame in session.frames(stack):
        masks = dict(session.masks(stack, frame))
        if frame >= cut and object_id in masks:
            masks[part] = masks.pop(object_id)
            changes.append(_masks(session, stack, frame, masks))
    return changes

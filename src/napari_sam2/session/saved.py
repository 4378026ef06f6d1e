"""A session as it is saved: the log and the masks of one image."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from napari_sam2.session.log import (
    AddObject,
    ChangeObject,
    MergeObjects,
    Paint,
    RemoveObject,
    Reopen,
    SetPrompts,
    SplitObject,
)
from napari_sam2.session.values import default_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_sam2.session.identity import ImageIdentity
    from napari_sam2.session.log import Command
    from napari_sam2.session.session import Session
    from napari_sam2.session.values import ObjectMask, StackKey


@dataclass(frozen=True, eq=False)
class SavedSession:
    """What a session's folder holds.

    Parameters
    ----------
    image : ImageIdentity
        The image.
    models : mapping of str to str
        SHA-256 of the file of each model that ran, by its name; empty where it was not known.
    log : tuple of Command
        What was done, with all prompts.
    masks : mapping of StackKey to mapping of int to mapping of int to ObjectMask
        The masks, by stack, frame and object.
    channels : mapping of str to ImageIdentity
        The further images that runs saw as channels, by what identifies them in `Channel`.
    """

    image: ImageIdentity
    models: Mapping[str, str]
    log: tuple[Command, ...]
    masks: Mapping[StackKey, Mapping[int, Mapping[int, ObjectMask]]]
    channels: Mapping[str, ImageIdentity] = field(default_factory=dict)

    def fitting(self) -> SavedSession:
        """Itself, without what was done when the image had more axes, or fewer."""
        ndim = len(self.image.shape) - self.image.rgb
        log = tuple(
            command
            for command in self.log
            if not hasattr(command, "stack") or command.stack.fits(ndim)
        )
        masks = {stack: frames for stack, frames in self.masks.items() if stack.fits(ndim)}
        whole = len(log) == len(self.log) and len(masks) == len(self.masks)
        return self if whole else replace(self, log=log, masks=masks)


def log_of(image: str, log: Iterable[Command]) -> tuple[Command, ...]:
    """The part of a log that is about one image; objects are shared by all images.

    Parameters
    ----------
    image : str
        What identifies the image in `StackKey`.
    log : iterable of Command
        The log.
    """
    kept: list[Command] = []
    known: set[int] = set()
    changed: dict[int, ChangeObject] = {}  # objects that are of other images until now

    def look(object_id: int) -> list[ChangeObject]:
        """The name that it has by now, and whether it is shown."""
        return [changed.pop(object_id)] if object_id in changed else []

    for command in log:
        match command:
            case AddObject(object_id):
                known.add(object_id)
            case ChangeObject(object_id):
                if object_id not in known:
                    changed[object_id] = command
                    continue
            case RemoveObject(object_id):
                changed.pop(object_id, None)
                if object_id not in known:
                    continue
            case MergeObjects(object_id, other):
                changed.pop(other, None)
                if other not in known:
                    continue
                if object_id not in known:
                    kept += [AddObject(object_id, default_name(object_id)), *look(object_id)]
                    known.add(object_id)
            case Reopen():
                pass
            case _:
                if command.stack.image != image:
                    continue
                if isinstance(command, Paint) or (
                    isinstance(command, SetPrompts) and command.prompts
                ):
                    if command.object_id in changed and command.object_id not in known:
                        added = AddObject(command.object_id, default_name(command.object_id))
                        kept += [added, *look(command.object_id)]
                    known.add(command.object_id)
        if isinstance(command, SplitObject):
            known.add(command.part)
        elif isinstance(command, RemoveObject):
            known.discard(command.object_id)
        elif isinstance(command, MergeObjects):
            known.discard(command.other)
        kept.append(command)
    return tuple(kept)


def changed_numbers(log: Iterable[Command]) -> set[int]:
    """Objects that a log renames, hides, deletes, merges or splits.

    To do so again in a session where other images have objects of these numbers would change those.
    """
    changed: set[int] = set()
    for command in log:
        match command:
            case ChangeObject(object_id) | RemoveObject(object_id):
                changed.add(object_id)
            case MergeObjects(object_id, other):
                changed |= {object_id, other}
            case SplitObject(part=part):
                changed.add(part)
    return changed


def masks_of_image(
    image: str, session: Session
) -> dict[StackKey, dict[int, Mapping[int, ObjectMask]]]:
    """All masks of one image, by stack, frame and object."""
    return {
        stack: {frame: session.masks(stack, frame) for frame in session.frames(stack)}
        for stack in session.stacks
        if stack.image == image
    }

"""From the prompt layers into the session, and which object is prompted next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

if TYPE_CHECKING:
    from napari_sam2.plugin.workspace import Workspace
    from napari_sam2.session.session import Session


@dataclass(frozen=True)
class Taken:
    """What reading the prompt layers brought.

    Parameters
    ----------
    frames : frozenset of int
        Frames whose prompts have changed.
    problems : tuple of str
        What cannot be used and was not told before.
    """

    frames: frozenset[int] = frozenset()
    problems: tuple[str, ...] = ()


class Prompting:
    """Keeps the session's prompts equal to the layers', and knows the active object.

    Parameters
    ----------
    session : Session
        Takes the prompts.
    workspace : Workspace
        Has the layers.

    Attributes
    ----------
    active_changed : Signal(int, bool)
        Emitted with the active object and the sign of the next point.
    """

    active_changed = Signal(int, bool)

    def __init__(self, session: Session, workspace: Workspace) -> None:
        self._session = session
        self._workspace = workspace
        self._active = (1, True)
        self._told: frozenset[str] = frozenset()
        workspace.next_object_changed.connect(self._on_next_object)

    @property
    def active(self) -> tuple[int, bool]:
        """Object that new prompts belong to, and whether the next point is part of it."""
        return self._active

    def set_active(self, object_id: int, positive: bool) -> None:
        """Make new prompts belong to an object, and new points be part of it or not."""
        if (object_id, positive) != self._active:
            self._active = (object_id, positive)
            self._workspace.use_object(object_id, positive)
            self.active_changed.emit(object_id, positive)

    def toggle_sign(self) -> None:
        """Switch the next point between "belongs to the object" and "does not"."""
        object_id, positive = self._active
        self.set_active(object_id, not positive)

    def new_object(self) -> None:
        """Make new prompts belong to an object that has none yet."""
        known = max((entry.object_id for entry in self._session.objects), default=0)
        self.set_active(max(known, self._workspace.largest_number()) + 1, True)

    def is_active_new(self) -> bool:
        """Whether the active object has never had a prompt."""
        return all(entry.object_id != self._active[0] for entry in self._session.objects)

    def take(self, keep_masks: bool = False) -> Taken:
        """Bring the session's prompts up to the layers'.

        Parameters
        ----------
        keep_masks : bool
            Whether the mask of a plane stays when an object's last prompt there is gone. It does
            when a whole layer went, which says nothing about the masks.
        """
        geometry = self._workspace.geometry()
        if geometry is None:
            return Taken()
        reading = self._workspace.read(geometry)
        problems = tuple(problem for problem in reading.problems if problem not in self._told)
        self._told = frozenset(reading.problems)
        held, stack = self._session.prompts(geometry.key), geometry.key
        changed = {
            key for key in {*held, *reading.prompts} if held.get(key) != reading.prompts.get(key)
        }
        for object_id, frame in sorted(changed):
            prompts = reading.prompts.get((object_id, frame), ())
            self._session.set_prompts(stack, object_id, frame, prompts)
            if not prompts and not keep_masks:
                self._session.remove_mask(stack, object_id, frame)
        return Taken(frozenset(frame for _, frame in changed), problems)

    def _on_next_object(self, object_id: int, positive: bool | None) -> None:
        self.set_active(object_id, self._active[1] if positive is None else positive)

"""Prompts that stay in their layers, and count for nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.plugin.prompt_commands import without_masks
from napari_sam2.session.values import StackKey

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.session.session import Session

    Place = tuple[StackKey, int, int]  # with object and frame


class Ignored:
    """What was painted over, or is in a layer of the user's for an object that is gone.

    The session keeps it, so that undo and redo bring it back.

    Parameters
    ----------
    session : Session
        Keeps it.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def of(self, place: Place) -> tuple[Prompt, ...]:
        """What counts for nothing of an object on a frame."""
        return self._session.kept(place) or ()

    def add(self, place: Place, prompts: Sequence[Prompt]) -> None:
        """Take prompts for nothing, too; masks are in no layer."""
        self._session.keep(place, (*self.of(place), *without_masks(prompts)) or None)

    def move(
        self, object_id: int, other: int, where: Callable[[StackKey, int], bool] = lambda *_: True
    ) -> None:
        """Take what counts for nothing of an object for nothing of another one, that it became.

        Parameters
        ----------
        object_id, other : int
            The object that was, and the one that what was drawn belongs to now.
        where : callable
            Whether a stack and a frame are concerned.
        """
        for place in self._places():
            stack, number, frame = place
            if number == object_id and where(stack, frame):
                prompts = self.of(place)
                self._session.keep(place, None)
                self.add((stack, other, frame), prompts)

    def numbers(self) -> set[int]:
        """Objects of which something counts for nothing."""
        return {number for _, number, _ in self._places()}

    def _places(self) -> list[Place]:
        kept = self._session.table("kept", None)
        return [key for key in kept if isinstance(key, tuple) and isinstance(key[0], StackKey)]

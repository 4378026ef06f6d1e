"""A propagation as the user asks for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

    from napari_sam2.inference.video.video_predictor import Direction


@dataclass(frozen=True)
class PassRequest:
    """Where to carry the objects.

    Parameters
    ----------
    direction : {"both", "forward", "backward"}
        Where to go from the prompts.
    limits : tuple of int, optional
        First and last frame to go to; by default the whole stack.
    stop_when_absent : int, optional
        Leave an object after so many frames without it; by default never.
    objects : tuple of int, optional
        Carry these alone; by default every one.
    """

    direction: Direction = "both"
    limits: tuple[int, int] | None = None
    stop_when_absent: int | None = None
    objects: tuple[int, ...] | None = None

    def carries(self, object_id: int) -> bool:
        """Whether an object is carried."""
        return self.objects is None or object_id in self.objects

    def narrowed(self, frame_count: int) -> PassRequest:
        """The same pass, with limits only where they leave out a part of the stack."""
        return replace(self, limits=None) if self.limits == (0, frame_count - 1) else self

    def frames(self, frame_count: int, keys: Collection[tuple[int, int]]) -> tuple[int, int]:
        """First and last frame that the pass will come by.

        Parameters
        ----------
        frame_count : int
            Length of the stack.
        keys : collection of (int, int)
            The objects and frames with prompts.

        Raises
        ------
        ValueError
            When there is none.
        """
        if not keys:
            raise ValueError(
                "There is no prompt in this stack. Click an object on one of its planes first."
            )
        prompted = [frame for object_id, frame in keys if self.carries(object_id)]
        if not prompted:
            raise ValueError(
                "None of the selected objects has a prompt in this stack. Select others in the "
                "table, or let all be carried."
            )
        first, last = self.limits or (0, frame_count - 1)
        if first > last:
            raise ValueError(
                f"The range starts at plane {first}, after its end at plane {last}. "
                "Exchange the two."
            )
        from_frame = min(prompted) if self.direction == "forward" else first
        to_frame = max(prompted) if self.direction == "backward" else last
        if from_frame > to_frame:
            raise ValueError(
                f"There is nothing to propagate to: the range from plane {first} to plane {last} "
                f"has no plane that lies {self.direction} of a prompt. Change the range."
            )
        return from_frame, to_frame


WHOLE_STACK = PassRequest()

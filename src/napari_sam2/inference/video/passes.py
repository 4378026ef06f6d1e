"""Which frames each object is carried to, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Pass = tuple[bool, dict[int, range]]


def plan_passes(
    prompted: Mapping[int, Sequence[int]],
    direction: str,
    start: int | None,
    stop: int | None,
    frames: int,
) -> list[Pass]:
    """Plan the passes of a propagation.

    Parameters
    ----------
    prompted : mapping of int to sequence of int
        The prompted frames of each object, ascending.
    direction : str
        ``"forward"``, ``"backward"`` or ``"both"``.
    start, stop : int or None
        As in `VideoPredictor.propagate`.
    frames : int
        Length of the stack.

    Returns
    -------
    list of (bool, dict of int to range)
        For each pass whether it is reversed, and the frames of each object, in ascending order.

    Raises
    ------
    ValueError
        When the direction is unknown or the range runs against it.
    """
    if direction not in ("forward", "backward", "both"):
        raise ValueError(
            f"direction is {direction!r}, but must be 'forward', 'backward' or 'both'."
        )
    low, high = (stop, start) if direction == "backward" else (start, stop)
    first = 0 if low is None else low
    last = frames - 1 if high is None else high
    if first > last:
        raise ValueError(
            f"The range from {start} to {stop} holds no frame in direction {direction!r}. "
            "Swap start and stop, or change the direction."
        )
    whole_range = direction != "both" and start is not None
    passes: list[Pass] = []
    if direction != "backward":
        passes.append(
            (
                False,
                {
                    object_id: range(first if whole_range else max(first, known[0]), last + 1)
                    for object_id, known in prompted.items()
                },
            )
        )
    if direction != "forward":
        # alone, a backward pass covers the frames between prompts, too
        turn = -1 if direction == "backward" else 0
        passes.append(
            (
                True,
                {
                    object_id: range(first, (last if whole_range else min(last, known[turn])) + 1)
                    for object_id, known in prompted.items()
                },
            )
        )
    return passes

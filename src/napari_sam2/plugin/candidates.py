"""Going through the masks that prompts may mean."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_sam2.inference.prompts import PointPrompt, are_given

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.session.values import ObjectMask

COUNT = 3  # candidates that a model gives for any prompts


def next_choice(
    prompts: Sequence[Prompt], chosen: int | None, mask: ObjectMask | None
) -> int | None:
    """Say which candidate comes after the one that is shown.

    Parameters
    ----------
    prompts : sequence of Prompt
        Of one object on one frame.
    chosen : int or None
        The candidate chosen so far; None while the choice is the model's.
    mask : ObjectMask or None
        What is shown.

    Returns
    -------
    int or None
        The next candidate. After the last one comes None, what was shown first: the model's own
        choice, which it may have looked at a second time.

    Raises
    ------
    ValueError
        When there are no candidates.
    """
    if not prompts:
        raise ValueError(
            "The active object has no prompt on this plane, so there are no candidates to go "
            "through. Click it first, or make another object active."
        )
    if are_given(prompts):
        raise ValueError(
            "The active object's mask on this plane was given, so there are no candidates to go "
            "through. Add a click, a scribble or a box to it first."
        )
    if chosen is None:
        # What is shown after one click is from the first of them, unless nothing was found.
        return 1 if _is_one_click(prompts) and mask is not None and mask.present else 0
    return chosen + 1 if chosen + 1 < COUNT else None


def describe(
    object_id: int, prompts: Sequence[Prompt], chosen: int | None, mask: ObjectMask
) -> str:
    """Say which mask of an object is shown, and how sure the model is of it."""
    if not mask.present:
        return f"Object {object_id}: not found on this plane"
    if are_given(prompts):
        return f"Object {object_id}: as given"
    if chosen is None and _is_one_click(prompts):
        chosen = 0
    which = "" if chosen is None else f"candidate {chosen + 1} of {COUNT}, "
    return f"Object {object_id}: {which}score {mask.score:.2f}"


def _is_one_click(prompts: Sequence[Prompt]) -> bool:
    return len(prompts) == 1 and isinstance(prompts[0], PointPrompt)

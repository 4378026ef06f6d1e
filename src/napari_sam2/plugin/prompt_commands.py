"""What keys and buttons do to one object's prompts on one plane, in any session."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from napari_sam2.inference.prompts import MaskPrompt
from napari_sam2.plugin.candidates import next_choice
from napari_sam2.session.log import RemoveMask, SetPrompts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.session.session import Session
    from napari_sam2.session.values import StackKey

    Drawn = Mapping[tuple[int, int], tuple[Prompt, ...]]  # by object and frame; no masks


class DrawnChange(NamedTuple):
    """What became of what is drawn for an object on a frame."""

    stack: StackKey
    object_id: int
    frame: int
    lost: tuple[Prompt, ...]
    gained: tuple[Prompt, ...]


def give_mask(
    mask: MaskPrompt, session: Session, stack: StackKey, object_id: int, frame: int
) -> None:
    """Make a mask a prompt of an object, in place of an earlier one."""
    held = session.prompts(stack).get((object_id, frame), ())
    session.apply(SetPrompts(stack, object_id, frame, (*without_masks(held), mask)))


def take_mask_back(session: Session, stack: StackKey, object_id: int, frame: int) -> None:
    """Take back the mask prompt of an object.

    Raises
    ------
    ValueError
        When it has none on this frame.
    """
    held = session.prompts(stack).get((object_id, frame), ())
    if not masks_among(held):
        raise ValueError(
            "The active object has no label as its mask on this plane. Go to the plane where "
            "it has one, or make another object active."
        )
    for edit in prompt_edits(stack, object_id, frame, without_masks(held)):
        session.apply(edit)


def choose_next_candidate(session: Session, stack: StackKey, object_id: int, frame: int) -> None:
    """Choose the candidate after the one that is shown of an object.

    Raises
    ------
    ValueError
        When it has none on this frame.
    """
    key = object_id, frame
    prompts, chosen = session.prompts(stack).get(key, ()), session.choices(stack).get(key)
    mask = session.masks(stack, frame).get(object_id)
    session.choose(stack, object_id, frame, next_choice(prompts, chosen, mask))


def prompt_edits(
    stack: StackKey,
    object_id: int,
    frame: int,
    prompts: tuple[Prompt, ...],
    keep_mask: bool = False,
) -> list[SetPrompts | RemoveMask]:
    """The edits that give an object other prompts on a frame; without any, its mask goes."""
    edits: list[SetPrompts | RemoveMask] = [SetPrompts(stack, object_id, frame, prompts)]
    if not prompts and not keep_mask:
        edits.append(RemoveMask(stack, object_id, frame))
    return edits


def drawn_changes(stack: StackKey, before: Drawn, after: Drawn) -> list[DrawnChange]:
    """What was drawn and taken away of a stack's prompts between two times."""
    found = []
    for key in sorted({*before, *after}):
        earlier, later = before.get(key, ()), after.get(key, ())
        lost = tuple(prompt for prompt in earlier if prompt not in later)
        gained = tuple(prompt for prompt in later if prompt not in earlier)
        if lost or gained:
            found.append(DrawnChange(stack, *key, lost, gained))
    return found


def apply_drawn(changes: Sequence[DrawnChange], session: Session, keep_masks: bool = False) -> None:
    """Do to a session's prompts what was done to what is drawn; `keep_masks` as `prompt_edits`."""
    for stack, object_id, frame, lost, gained in changes:
        drawn = session.prompts(stack)
        if lost and (object_id, frame) not in drawn:  # it may be of another object since
            owners = (
                n for (n, at), p in drawn.items() if at == frame and all(each in p for each in lost)
            )
            object_id = next(owners, object_id)
        held = drawn.get((object_id, frame), ())
        left = [prompt for prompt in without_masks(held) if prompt not in lost]
        prompts = (*left, *gained, *masks_among(held))
        if prompts != held:
            for edit in prompt_edits(stack, object_id, frame, prompts, keep_masks):
                session.apply(edit)


def masks_among(prompts: Sequence[Prompt]) -> tuple[MaskPrompt, ...]:
    """Those of the prompts that are masks."""
    return tuple(prompt for prompt in prompts if isinstance(prompt, MaskPrompt))


def without_masks(prompts: Sequence[Prompt]) -> tuple[Prompt, ...]:
    """Those of the prompts that are no masks."""
    return tuple(prompt for prompt in prompts if not isinstance(prompt, MaskPrompt))

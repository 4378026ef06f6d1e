"""Masks of a session: from results, from what was given, and of two objects together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.prompts import MaskPrompt, are_given, expand_prompts
from napari_sam2.session.values import ObjectMask

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.inference.results import FrameResult

GIVEN_LOGIT = 10.0  # what the model makes of a mask that is given to it


def masks_of(
    result: FrameResult,
    prompts: Mapping[tuple[int, int], tuple[Prompt, ...]],
    before: Mapping[int, ObjectMask],
) -> dict[int, ObjectMask]:
    """Masks of a result.

    Parameters
    ----------
    result : FrameResult
        What a predictor returned.
    prompts : mapping of (int, int) to tuple of Prompt
        Prompts of the stack, by (object, frame). A mask that was given is kept pixel by pixel: the
        model sees and returns it at a resolution of its own.
    before : mapping of int to ObjectMask
        Masks of the frame so far.

    Returns
    -------
    dict of int to ObjectMask
        By object. One that says the same as before is the one before, so that history shares it.
    """
    found = {}
    for object_id, crop, score, present in zip(
        result.object_ids, result.crops, result.scores, result.present, strict=True
    ):
        given = prompts.get((object_id, result.frame), ())
        if given and are_given(given):
            mask = given_mask(_union(given, result.shape), float(score))
        else:
            mask = ObjectMask(crop, float(score), bool(present))
        earlier = before.get(object_id)
        found[object_id] = earlier if earlier is not None and _equal(mask, earlier) else mask
    return found


def given_mask(mask: MaskPrompt, score: float = 1.0) -> ObjectMask:
    """A mask that a person gave; it must not be empty."""
    logits = np.where(mask.crop, GIVEN_LOGIT, -GIVEN_LOGIT).astype(np.float16)
    return ObjectMask(MaskCrop(logits, mask.origin), score, True)


def plane_mask(mask: ObjectMask | None, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """A mask as a plane of bool, shape (Y, X); empty for None.

    What lies beyond the plane, as when the image has become smaller, is left out.
    """
    plane = np.zeros(shape, dtype=bool)
    if mask is not None:
        part = plane[mask.crop.slices]
        part[:] = mask.crop.logits[: part.shape[0], : part.shape[1]] > 0
    return plane


def merged(first: ObjectMask, second: ObjectMask) -> ObjectMask:
    """What either of two masks covers, with the lower of their scores."""
    if not (first.present and second.present):
        return first if first.present else second
    parts = [mask.crop for mask in (first, second)]
    starts = np.min([crop.origin for crop in parts], axis=0)
    stops = np.max([np.add(crop.origin, crop.logits.shape) for crop in parts], axis=0)
    logits = np.full(stops - starts, -np.inf, dtype=np.float16)
    for crop in parts:
        rows, columns = (
            slice(o, o + n) for o, n in zip(crop.origin - starts, crop.logits.shape, strict=True)
        )
        logits[rows, columns] = np.maximum(logits[rows, columns], crop.logits)
    origin = int(starts[0]), int(starts[1])
    return ObjectMask(MaskCrop(logits, origin), min(first.score, second.score), True)


def _union(given: Sequence[Prompt], shape: tuple[int, int]) -> MaskPrompt:
    (prompt,) = expand_prompts(given, shape)
    assert isinstance(prompt, MaskPrompt)
    return prompt


def _equal(first: ObjectMask, second: ObjectMask) -> bool:
    return (first.score, first.present, first.crop.origin) == (
        second.score,
        second.present,
        second.crop.origin,
    ) and np.array_equal(first.crop.logits, second.crop.logits)

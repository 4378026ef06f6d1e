"""Parts of masks that lie apart from what was asked for.

A small model lights up specks far from an object, and pieces of what looks like it. A click is on
one piece; in what a box or a memory shows, specks are small beside the object.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import label

from napari_sam2.inference.prompts import BoxPrompt, MaskPrompt, PointPrompt
from napari_sam2.inference.small_models import is_small

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_sam2.inference.load import Model
    from napari_sam2.inference.prompts import ModelPrompt
    from napari_sam2.model.mask_decoder import Decoded

    Place = NDArray[np.float64]  # (row, column) as shares of the plane's height and width

SPECK = 0.1  # of the largest part: what is smaller is one
TOUCHING = np.ones((3, 3), dtype=bool)  # parts that meet at a corner are one
FAINT = -1.0  # logit of what surrounds a part, as far as the stability of a mask looks
NOT_THERE = -8.0  # logit of what is taken away


def freed_answer(
    model: Model,
    decoded: Decoded,
    prompts: Sequence[ModelPrompt],
    shape: tuple[int, int],
    before: Tensor | None,
) -> Decoded:
    """What prompts of one object were answered, by `without_stray` where the model is small."""
    if not is_small(model):
        return decoded
    return replace(decoded, logits=without_stray(decoded.logits, prompts, shape, before))


def without_stray(
    logits: Tensor,
    prompts: Sequence[ModelPrompt],
    shape: tuple[int, int],
    before: Tensor | None = None,
) -> Tensor:
    """Masks of one object without what lies apart from every positive click.

    Parameters
    ----------
    logits : Tensor, shape (1, N, h, w)
        In the model's input.
    prompts : sequence of ModelPrompt
        What was asked, in pixels of the plane. With a mask among them nothing is taken away, as
        what is drawn by hand may lie in many pieces. Beside a box, or where a click is not on the
        mask, specks alone are.
    shape : tuple of int
        (Y, X) of the plane.
    before : Tensor, optional
        Logits (1, 1, h, w) of the mask that is refined: what belongs to that stays, too.

    Returns
    -------
    Tensor, shape (1, N, h, w)
        On the same device.
    """
    if any(isinstance(prompt, MaskPrompt) for prompt in prompts):
        return logits
    clicks = [
        (np.array(prompt.position) + 0.5) / shape
        for prompt in prompts
        if isinstance(prompt, PointPrompt) and prompt.positive
    ]
    boxed = any(isinstance(prompt, BoxPrompt) for prompt in prompts)
    refined = None if before is None else (before[0, 0] > 0).cpu().numpy()
    return freed(logits[0], [clicks] * logits.shape[1], boxed, refined)[None]


def freed(
    logits: Tensor,
    clicks: Sequence[Sequence[Place]] = (),
    boxed: bool = False,
    refined: NDArray[np.bool_] | None = None,
) -> Tensor:
    """Masks (N, h, w) without what lies apart from their clicks, where they have any, or specks.

    Specks are parts smaller than a tenth of the largest; larger ones stay where a mask has no
    clicks, one of them is not on it, or ``boxed`` says that there was a box, too. What belongs to
    a mask (h, w) that is ``refined`` stays.
    """
    masks, reach = ((logits > least).cpu().numpy() for least in (0, FAINT))
    stray = np.zeros_like(masks)
    for index, mask in enumerate(masks):
        parts, count = label(mask, TOUCHING)
        if count > 1:
            asked = [_clicked(parts, click) for click in clicks[index]] if clicks else []
            kept = np.zeros(count + 1, dtype=bool)
            if boxed or not asked or not all(asked):
                sizes = np.bincount(parts.ravel())[1:]
                kept[1:] = sizes >= SPECK * sizes.max()
            kept[list(set().union(*asked))] = True
            if refined is not None:
                kept[parts[refined]] = True
            stray[index] = mask & ~kept[parts]
        if stray[index].any():  # with what is faint around it, which would make a mask unstable
            faint = label(reach[index], TOUCHING)[0]
            stray[index] |= reach[index] & ~np.isin(faint, faint[mask & ~stray[index]])
    if not stray.any():
        return logits
    return logits.masked_fill(torch.from_numpy(stray).to(logits.device), NOT_THERE)


def _clicked(parts: NDArray[np.integer], click: Place) -> set[int]:
    """Which parts of a mask a click is on, or touches: an outline is no finer than a cell."""
    row, column = (click * parts.shape).astype(int)
    around = parts[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    return set(around[around > 0].tolist())

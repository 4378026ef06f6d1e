"""What is kept of an object that was decoded on a frame, its mask and candidates, and shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.ndimage import label

from napari_sam2.inference.masks import NO_MASK, crop_of, repeated_masks
from napari_sam2.inference.results import FrameResult, Prediction
from napari_sam2.inference.stray import freed
from napari_sam2.inference.transforms import to_plane_logits
from napari_sam2.inference.video.memory_bank import FrameMemory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from torch import Tensor

    from napari_sam2.inference.crops import MaskCrop
    from napari_sam2.inference.transforms import Fit
    from napari_sam2.inference.video.memory_bank import Track
    from napari_sam2.model.mask_decoder import Decoded
    from napari_sam2.model.sam1 import Sam1
    from napari_sam2.model.sam2 import Sam2, Tracked

UNCHANGED = 0.99
FILLED_LOGIT = 0.1  # of what was a hole, as in the sam2 package
PIXELS = 2**25  # of masks that are stretched to the plane together, at most


def split(tracked: Tracked, largest_hole: int, without_specks: bool = False) -> list[FrameMemory]:
    """One entry an object of the batch; smaller holes are filled, and specks go where asked."""
    shown = freed(tracked.logits[:, 0])[:, None] if without_specks else tracked.logits
    # copies: a part of the batch would keep the whole of it
    every = [logits.to(torch.float32, copy=True) for logits in shown]
    pointers = [pointer.clone() for pointer in tracked.pointers]
    # together, as a GPU is waited for at each answer; last, as it works on the copies meanwhile
    judged = torch.stack([tracked.scores.float(), tracked.present.float()], dim=1).tolist()
    return [
        FrameMemory(fill_holes(logits, largest_hole), score, bool(present), pointer)
        for logits, pointer, (score, present) in zip(every, pointers, judged, strict=True)
    ]


def alike(before: FrameMemory | None, after: FrameMemory) -> bool:
    """Whether a mask stayed what it was, to an IoU of `UNCHANGED`."""
    if before is None or before.present != after.present:
        return False
    if before is after:
        return True
    first, second = before.logits > 0, after.logits > 0
    return bool((first & second).sum() >= UNCHANGED * (first | second).sum())


def fill_holes(logits: Tensor, largest: int) -> Tensor:
    """Fill small holes of a mask.

    Parameters
    ----------
    logits : Tensor, shape (1, h, w)
        Mask logits.
    largest : int
        Holes of more cells stay; diagonal neighbours are one hole. 0 leaves the mask alone.

    Returns
    -------
    Tensor, shape (1, h, w)
        The same tensor, changed in place.
    """
    if largest:
        background = (logits[0] <= 0).cpu().numpy()
        regions, _ = label(background, np.ones((3, 3)))
        small = np.bincount(regions.ravel()) <= largest
        logits[0][torch.from_numpy(small[regions] & background).to(logits.device)] = FILLED_LOGIT
    return logits


def decoded_candidates(network: Sam1 | Sam2, decoded: Decoded) -> tuple[FrameMemory, ...]:
    """The three candidates for one object, best first.

    Each counts as present: it is used only where a person chose it.
    """
    three = decoded.candidates()
    pointers = network.pointers(three.tokens[0])
    best_first = three.scores[0].argsort(descending=True, stable=True)
    return tuple(
        FrameMemory(
            # copies, as above
            logits=three.logits[0, index, None].to(torch.float32, copy=True),
            score=float(three.scores[0, index]),
            present=True,
            pointer=pointers[index].clone(),
        )
        for index in best_first.tolist()
    )


def prediction(found: Sequence[FrameMemory], fit: Fit) -> Prediction:
    """Candidates as what an image predictor returns."""
    logits = torch.stack([memory.logits for memory in found], dim=1)  # (1, N, h, w)
    masks = (to_plane_logits(logits, fit)[0] > 0).cpu().numpy()
    for mask, memory in zip(masks, found, strict=True):
        if memory.crop is not None:
            mask[:] = False
            mask[memory.crop.slices] = memory.crop.logits > 0
    return Prediction(
        masks=masks,
        scores=np.array([memory.score for memory in found], dtype=np.float32),
        logits=logits[0].cpu().numpy(),
    )


def frame_result(
    tracks: Mapping[int, Track], frame: int, fit: Fit, distinct: bool = False
) -> FrameResult:
    """Every object known on a frame; ``distinct`` as `VideoPredictor` takes it."""
    known = {
        object_id: found
        for object_id, track in tracks.items()
        if (found := track.get(frame)) is not None
    }
    # what comes from a look is finer where the plane is large, or the object small
    coarse = _crops([found for found in known.values() if found.crop is None], fit)
    crops = [next(coarse) if found.crop is None else found.crop for found in known.values()]
    scores = np.array([found.score for found in known.values()], dtype=np.float32)
    present = np.array([found.present for found in known.values()], dtype=bool)
    if distinct:
        shown = [tracks[object_id] for object_id in known]
        for index in repeated_masks(crops, lambda index: shown[index].certainty(frame)):
            if frame not in shown[index].prompts:
                crops[index], present[index] = NO_MASK, False
    return FrameResult(frame, fit.shape, tuple(known), tuple(crops), scores, present)


def _crops(known: Sequence[FrameMemory], fit: Fit) -> Iterator[MaskCrop]:
    """Masks in the plane; several objects at a time, as a GPU is waited for each time."""
    height, width = fit.shape
    together = max(1, PIXELS // (height * width))
    for first in range(0, len(known), together):
        logits = torch.stack([memory.logits for memory in known[first : first + together]])
        yield from map(crop_of, to_plane_logits(logits, fit)[:, 0].cpu().numpy())

"""What the predictors return."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.inference.masks import labels_from_crops

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from napari_sam2.inference.crops import MaskCrop


@dataclass(frozen=True, eq=False)
class Prediction:
    """Candidate masks of one object on one plane, best first not guaranteed.

    Attributes
    ----------
    masks : array of bool, shape (N, Y, X)
        One candidate (N = 1), or three (N = 3) where several were asked for.
    scores : array of float32, shape (N,)
        The model's own estimate of each mask's IoU, of candidates of a small one by how far they
        agree, too; 0 to 1, but SAM 1's may leave that range.
    logits : array of float32, shape (N, h, w)
        Mask logits at the decoder's resolution, a quarter of the model's input; feed the
        prediction back as ``previous`` to refine it.
    """

    masks: NDArray[np.bool_]
    scores: NDArray[np.float32]
    logits: NDArray[np.float32]

    @property
    def best(self) -> NDArray[np.bool_]:
        """The candidate with the highest score, bool of shape (Y, X)."""
        best: NDArray[np.bool_] = self.masks[int(np.argmax(self.scores))]
        return best


@dataclass(frozen=True, eq=False)
class FrameResult:
    """Every object known on one frame.

    Attributes
    ----------
    frame : int
        Index along the frame axis.
    shape : tuple of int
        (Y, X) of the plane.
    object_ids : tuple of int
        The objects, in the order of the arrays below.
    crops : tuple of MaskCrop
        The masks as bounding-box crops; empty where an object is absent.
    scores : array of float32, shape (n,)
        The model's own estimate of each mask's IoU, 0 to 1.
    present : array of bool, shape (n,)
        Whether the model sees the object on this frame.
    """

    frame: int
    shape: tuple[int, int]
    object_ids: tuple[int, ...]
    crops: tuple[MaskCrop, ...]
    scores: NDArray[np.float32]
    present: NDArray[np.bool_]

    @cached_property
    def masks(self) -> NDArray[np.bool_]:
        """Masks as bool of shape (n, Y, X), expanded on access."""
        masks = np.zeros((len(self.crops), *self.shape), dtype=bool)
        for mask, crop in zip(masks, self.crops, strict=True):
            mask[crop.slices] = crop.logits > 0
        return masks

    def of(self, object_ids: Collection[int]) -> FrameResult:
        """The same of these objects alone."""
        kept = [index for index, each in enumerate(self.object_ids) if each in object_ids]
        return FrameResult(
            self.frame,
            self.shape,
            tuple(self.object_ids[index] for index in kept),
            tuple(self.crops[index] for index in kept),
            self.scores[kept],
            self.present[kept],
        )

    def labels(self) -> NDArray[np.uint32]:
        """Label map of shape (Y, X); where objects overlap the larger logit wins."""
        return labels_from_crops(self.crops, self.object_ids, self.shape)

"""What the model answers about a part of a large plane."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import distance_transform_edt

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.masks import (
    bounding_box,
    half_precision,
    intersection_over_union,
)
from napari_sam2.inference.transforms import plane_weights, to_plane_logits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_sam2.inference.large.fields import Bounds, Field
    from napari_sam2.inference.transforms import Fit

STRAY = 0.01  # of a mask, on each side, that does not count as part of where it lies
BAND = 1024  # rows of a mask that are stretched at a time
# Of the depth of a mask's middle: its other end is as far from a click, and as deep. No two places
# in a disc are.
FAR, AS_DEEP = 1.4, 0.6


@dataclass(frozen=True, eq=False)
class LargePrediction:
    """Candidate masks of one object on a large plane.

    Attributes
    ----------
    scores : array of float32, shape (N,)
        The model's own estimate of each mask's IoU, of candidates of a small one by how far they
        agree, too; 0 to 1, but SAM 1's may leave that range.
    logits : array of float32, shape (N, h, w)
        Mask logits at the decoder's resolution, of the field alone.
    field : Field
        The part of the plane that the model saw, and how coarsely: ``field.box``, ``field.level``.
    fit : Fit
        How the field lies in the model's input.
    """

    scores: NDArray[np.float32]
    logits: NDArray[np.float32]
    field: Field
    fit: Fit

    @cached_property
    def best(self) -> MaskCrop:
        """The candidate with the highest score, as `crop` gives it."""
        return self.crop(self._best)

    def crop(self, candidate: int) -> MaskCrop:
        """A candidate in the plane's own pixels, kept as its bounding box; perhaps empty.

        Memory follows the object, not the plane.
        """
        logits = torch.from_numpy(self.logits[candidate])
        box = bounding_box(self._shown(candidate) > 0)
        if box is None:
            return MaskCrop(np.zeros((0, 0), dtype=np.float16), (0, 0))
        step, field = self.field.step, self.field
        height, width = field.shown
        fit = replace(self.fit, shape=(height * step, width * step))
        rows, columns = plane_weights(fit, self.logits.shape[1:], torch.device("cpu"))
        # between pixels that are shown, the mask may reach a little further
        top, left = (max(0, part.start - 1) * step for part in box)
        bottom = min((box[0].stop + 1) * step, field.height)
        right = min((box[1].stop + 1) * step, field.width)
        half = np.empty((bottom - top, right - left), dtype=np.float16)
        across = logits @ columns[left:right].T
        for first in range(top, bottom, BAND):
            last = min(first + BAND, bottom)
            half[first - top : last - top] = half_precision((rows[first:last] @ across).numpy())
        inner = bounding_box(half > 0)
        if inner is None:
            return MaskCrop(np.zeros((0, 0), dtype=np.float16), (0, 0))
        origin = (field.row + top + inner[0].start, field.column + left + inner[1].start)
        return MaskCrop(half[inner], origin)

    @property
    def extent(self) -> Bounds | None:
        """Where the best candidate lies, but for stray pixels; None where it is empty.

        (row_min, col_min, row_max, col_max) in pixels of the plane.
        """
        mask = self._shown(self._best) > 0
        if not mask.any():
            return None
        ends = []
        for axis in (0, 1):
            share = np.cumsum(mask.sum(axis=1 - axis)) / mask.sum()
            ends.append([int(np.searchsorted(share, limit)) for limit in (STRAY, 1 - STRAY)])
        step, (rows, columns) = self.field.step, ends
        return (
            self.field.row + rows[0] * step,
            self.field.column + columns[0] * step,
            self.field.row + (rows[1] + 1) * step - 1,
            self.field.column + (columns[1] + 1) * step - 1,
        )

    @property
    def middle(self) -> tuple[float, float]:
        """The place in the best candidate, not empty, that is farthest from its outline."""
        return self._place(self._depth)

    def other_end(self, position: tuple[float, float]) -> tuple[float, float] | None:
        """A place in the best candidate, not empty, that is far from a (row, column) in it.

        None where there is none, as in whatever is no longer than a disc.
        """
        depth = self._depth
        row, column = self.field.to_shown(position)
        rows, columns = np.indices(depth.shape, dtype=np.float32)
        away = np.hypot(rows - row, columns - column) * (depth >= AS_DEEP * depth.max())
        return self._place(away) if away.max() > FAR * depth.max() else None

    @property
    def _depth(self) -> NDArray[np.float64]:
        """How far each place that is shown lies from the best candidate's outline, inside it."""
        depth: NDArray[np.float64] = distance_transform_edt(np.pad(self._shown(self._best) > 0, 1))
        return depth[1:-1, 1:-1]

    def _place(self, height: NDArray[np.floating[Any]]) -> tuple[float, float]:
        """Where a map of what is shown is highest, in pixels of the plane."""
        row, column = np.unravel_index(height.argmax(), height.shape)
        step = self.field.step
        return (
            self.field.row + (int(row) + 0.5) * step - 0.5,
            self.field.column + (int(column) + 0.5) * step - 0.5,
        )

    @property
    def only_best(self) -> LargePrediction:
        """The best candidate alone."""
        return self.only([self._best])

    def only(self, candidates: Sequence[int] | NDArray[np.intp]) -> LargePrediction:
        """Some candidates alone, in this order."""
        return replace(self, scores=self.scores[candidates], logits=self.logits[candidates])

    def best_first(self, like: LargePrediction | None = None) -> LargePrediction:
        """The candidates by score, but first the one most like another answer in the same field."""
        order = np.argsort(-self.scores, kind="stable")
        if like is not None:
            theirs = like.logits[like._best] > 0
            overlaps = [intersection_over_union(self.logits[each] > 0, theirs) for each in order]
            alike = int(np.argmax(overlaps))
            order = np.r_[order[alike], np.delete(order, alike)]
        return self.only(order)

    def covers(self, position: tuple[float, float]) -> bool:
        """Whether the best candidate has a (row, column) in it."""
        shown = self._shown(self._best)
        place = np.round(self.field.to_shown(position)).astype(int)
        return bool(shown[tuple(place.clip(0, np.array(shown.shape) - 1))] > 0)

    def seen_in(self, field: Field, fit: Fit) -> Tensor:
        """Logits of the best candidate as another field would have them, (1, 1, h, w).

        Beyond the own field there is no object.
        """
        logits = torch.from_numpy(self.logits[self._best])[None, None]
        if field == self.field:
            return logits
        places = []
        for axis, (start, own_start) in enumerate(
            ((field.row, self.field.row), (field.column, self.field.column))
        ):
            cells = logits.shape[2 + axis]
            middles = (torch.arange(cells) + 0.5) / cells * fit.size / fit.extent[axis]
            plane = start + middles * field.shown[axis] * field.step
            own = (plane - own_start) / (self.field.shown[axis] * self.field.step)
            places.append(own * self.fit.extent[axis] / self.fit.size)  # 0 to 1 inside
        rows, columns = torch.meshgrid(*places, indexing="ij")
        grid = torch.stack([columns, rows], dim=-1)[None] * 2 - 1
        lowest = logits.min()
        return F.grid_sample(logits - lowest, grid, align_corners=False) + lowest

    @property
    def _best(self) -> int:
        return int(np.argmax(self.scores))

    def _shown(self, candidate: int) -> NDArray[np.float32]:
        logits = torch.from_numpy(self.logits[candidate])[None, None]
        shown: NDArray[np.float32] = to_plane_logits(logits, self.fit)[0, 0].numpy()
        return shown

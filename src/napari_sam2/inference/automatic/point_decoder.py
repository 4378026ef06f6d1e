"""Decode many points of one part of a plane, each by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_sam2.inference.agreement import with_agreement
from napari_sam2.inference.automatic.found_masks import FoundMask
from napari_sam2.inference.automatic.runs import RunMask
from napari_sam2.inference.encode import encode_plane
from napari_sam2.inference.small_models import is_small
from napari_sam2.inference.stray import freed
from napari_sam2.inference.transforms import plane_weights, to_model_points
from napari_sam2.model.prompt_encoder import POSITIVE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_sam2.inference.automatic.found_masks import Box, Thresholds
    from napari_sam2.inference.load import Model

# Both are those of the sam2 package.
STABILITY_OFFSET = 1.0  # of logits: how far the threshold is moved to see whether a mask is stable
CROP_MARGIN = 20  # pixels; a mask that comes so near to the edge of a crop may be cut off by it


class PointDecoder:
    """Encodes a part of a plane once, and decodes points in it.

    Parameters
    ----------
    model : Model
        From `load_model`.
    plane : array, shape (Y, X) or (Y, X, 3)
        The whole plane.
    contrast_limits : tuple of float
        (low, high), mapped to black and white.
    crop : tuple of int
        (row_min, col_min, row_max, col_max) of the part, the last pixels included.
    floors : Thresholds
        What a mask must reach to be kept.
    """

    def __init__(
        self,
        model: Model,
        plane: NDArray[Any],
        contrast_limits: tuple[float, float],
        crop: Box,
        floors: Thresholds,
    ) -> None:
        self.model, self.crop, self.floors = model, crop, floors
        self._plane_shape = plane.shape[0], plane.shape[1]
        part = plane[crop[0] : crop[2] + 1, crop[1] : crop[3] + 1]
        self._fit = model.fit((part.shape[0], part.shape[1]))
        self._features = encode_plane(model, part, contrast_limits)
        with torch.inference_mode(), model.precision():
            self._embedding = model.network.without_memory(self._features)
        grid = model.config.image_size // 4
        weights = plane_weights(self._fit, (grid, grid), model.device)
        self._rows, self._columns = map(_Axis, weights)

    def masks(self, points_yx: NDArray[np.float64]) -> Iterator[FoundMask]:
        """Decode a batch of points.

        Parameters
        ----------
        points_yx : array, shape (B, 2)
            (row, column) in pixels of the whole plane.

        Yields
        ------
        FoundMask
            Up to three masks of each point: those that reach the floors and are not cut off.
        """
        model = self.model
        within = points_yx - np.array(self.crop[:2])
        points_xy_model = to_model_points(within, self._fit, model.device)[:, None]
        labels = torch.full((len(within), 1), POSITIVE, device=model.device)
        with torch.inference_mode(), model.precision():
            decoded = model.network.decode(
                self._embedding, self._features, points_xy_model, labels
            ).candidates()
            if is_small(model):
                decoded = with_agreement(decoded)
        scores = decoded.scores.float()
        good = (scores > self.floors.score).nonzero()
        logits = decoded.logits[good[:, 0], good[:, 1]].float()
        if is_small(model):
            clicks = (within + 0.5) / self._fit.shape
            logits = freed(logits, [[clicks[point]] for point in good[:, 0].tolist()])
        faint = logits > -STABILITY_OFFSET
        in_rows, in_columns = (faint.any(dim=dim).cpu().numpy() for dim in (2, 1))
        for (point, candidate), each, rows, columns in zip(
            good.tolist(), logits, in_rows, in_columns, strict=True
        ):
            stable = self._stable_mask(each, rows, columns)
            if stable is not None and not self._is_cut_off(stable[0]):
                yield FoundMask(
                    runs=stable[0],
                    score=float(scores[point, candidate]),
                    stability=stable[1],
                    point_yx=(float(points_yx[point, 0]), float(points_yx[point, 1])),
                    crop=self.crop,
                )

    def _stable_mask(
        self, logits: Tensor, in_rows: NDArray[np.bool_], in_columns: NDArray[np.bool_]
    ) -> tuple[RunMask, float] | None:
        """A mask of logits (h, w) and its stability, both at the plane's resolution.

        Logits are stretched only around where they reach beyond the lower threshold: objects are
        small, and stretching a thousand masks to the whole plane takes longer than decoding them.
        """
        rows, columns = self._rows.around(in_rows), self._columns.around(in_columns)
        if rows is None or columns is None:
            return None
        stretched = rows.weights @ logits[rows.grid, columns.grid] @ columns.weights.T
        inner = torch.count_nonzero(stretched > STABILITY_OFFSET)
        outer = torch.count_nonzero(stretched > -STABILITY_OFFSET)
        stability = float(inner / outer)  # not a number where there is nothing
        if not stability >= self.floors.stability:
            return None
        mask = (stretched > 0).cpu().numpy()
        if not mask.any():
            return None
        origin = self.crop[0] + rows.first, self.crop[1] + columns.first
        return RunMask.of(mask, self._plane_shape, origin), stability

    def _is_cut_off(self, mask: RunMask) -> bool:
        """Whether a mask ends near an edge of the crop that is none of the plane."""
        rows, columns = mask.slices
        box = np.array([rows.start, columns.start, rows.stop - 1, columns.stop - 1])
        # an edge at the end lies one beyond the last pixel, as in the sam2 package
        crop = np.array(self.crop) + np.array([0, 0, 1, 1])
        plane = np.array([0, 0, *self._plane_shape])
        near_crop, near_plane = (abs(box - edges) <= CROP_MARGIN for edges in (crop, plane))
        return bool((near_crop & ~near_plane).any())


@dataclass(frozen=True, eq=False)
class _Around:
    """The part of one axis where a mask may be."""

    first: int  # pixel of the part
    grid: slice  # of the logits that it depends on
    weights: Tensor  # (pixels, logits)


class _Axis:
    """How pixels of the part depend on logits, along rows or columns."""

    def __init__(self, weights: Tensor) -> None:
        self.weights = weights  # (pixels, logits)
        depends = weights.cpu().numpy() != 0
        self._first = depends.argmax(axis=1)  # logit that each pixel depends on
        self._last = depends.shape[1] - 1 - depends[:, ::-1].argmax(axis=1)

    def around(self, inside: NDArray[np.bool_]) -> _Around | None:
        """All pixels that depend on any of the logits ``inside``, (logits,)."""
        logits = np.flatnonzero(inside)
        if not logits.size:
            return None
        start = int(np.searchsorted(self._last, logits[0]))
        stop = int(np.searchsorted(self._first, logits[-1], side="right"))
        if start >= stop:  # a plane smaller than its logits skips some of them
            return None
        grid = slice(int(self._first[start]), int(self._last[stop - 1]) + 1)
        return _Around(start, grid, self.weights[start:stop, grid])

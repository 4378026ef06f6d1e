"""Masks that a generator found, and the choice among them, which asks no model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.ndimage import label

from napari_sam2.inference.mask_runs import MaskRuns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

_NEIGHBOURS = np.ones((3, 3))  # diagonal ones, too


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mask that may be an object.

    Attributes
    ----------
    mask : MaskRuns
        The mask.
    score : float
        The model's own estimate of its IoU.
    stability : float
        IoU of the mask with itself at another threshold, 0 to 1.
    point_yx : tuple of float
        Where the model was asked: (row, column) in pixels of the plane.
    window : tuple of slice
        Rows and columns of the plane that the model saw.
    """

    mask: MaskRuns
    score: float
    stability: float
    point_yx: tuple[float, float]
    window: tuple[slice, slice]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Masks of one plane, good and bad.

    Attributes
    ----------
    shape : tuple of int
        (Y, X) of the plane.
    masks : tuple of Candidate
        In the order in which they were found.
    """

    shape: tuple[int, int]
    masks: tuple[Candidate, ...]

    def choose(
        self,
        score: float = 0.8,
        stability: float = 0.95,
        overlap: float = 0.7,
        smallest: int = 0,
        overlap_of: Literal["masks", "boxes"] = "masks",
    ) -> Candidates:
        """Take the good masks, each object once.

        Parameters
        ----------
        score : float
            Masks score higher than this.
        stability : float
            Masks are at least so stable.
        overlap : float
            Of two masks with a higher IoU the one with the higher score stays, or the one from the
            smaller crop.
        smallest : int
            Separate parts and holes of fewer pixels are taken away, and masks of nothing else.
        overlap_of : {"masks", "boxes"}
            What the IoU is of. The sam2 package compares bounding boxes, which takes one of two
            long objects that cross.

        Returns
        -------
        Candidates
            The best score first.
        """
        good = [each for each in self.masks if each.score > score and each.stability >= stability]
        if smallest:
            cleaned = (replace(each, mask=without_specks(each.mask, smallest)) for each in good)
            good = [each for each in cleaned if each.mask.changes.size]
        compare = _mask_overlap if overlap_of == "masks" else _box_overlap
        windows: dict[tuple[int, ...], list[Candidate]] = {}
        for each in good:
            rows, columns = each.window
            place = rows.start, rows.stop, columns.start, columns.stop
            windows.setdefault(place, []).append(each)
        kept = [
            each
            for found in windows.values()
            for each in _suppressed(found, lambda one: -one.score, overlap, compare)
        ]
        if len(windows) > 1:  # what a smaller crop shows is sharper
            kept = _suppressed(kept, _window_area, overlap, compare)
        return Candidates(self.shape, tuple(sorted(kept, key=lambda one: -one.score)))

    def labels(self) -> NDArray[np.uint32]:
        """Label map (Y, X), 0 for background and n for the n-th mask.

        Where masks overlap the smaller one shows: a part of an object would not be seen otherwise.
        """
        labels = np.zeros(self.shape, dtype=np.uint32)
        numbers = range(1, len(self.masks) + 1)
        by_area = sorted(
            zip(self.masks, numbers, strict=True), key=lambda pair: (-pair[0].mask.area, pair[1])
        )
        for each, number in by_area:
            labels[each.mask.slices][each.mask.expand()] = number
        return labels


def without_specks(mask: MaskRuns, smallest: int) -> MaskRuns:
    """Fill holes and drop separate parts of fewer pixels than this; maybe nothing is left."""
    if not mask.changes.size:
        return mask
    pixels = mask.expand()
    pixels |= _small_regions(~np.pad(pixels, 1), smallest)[1:-1, 1:-1]
    pixels &= ~_small_regions(pixels, smallest)
    return MaskRuns.of(pixels, mask.origin)


def _small_regions(mask: NDArray[np.bool_], smallest: int) -> NDArray[np.bool_]:
    regions, _ = label(mask, _NEIGHBOURS)
    small = np.bincount(regions.ravel()) < smallest
    small[0] = False
    found: NDArray[np.bool_] = small[regions]
    return found


def _suppressed(
    found: Iterable[Candidate],
    order: Callable[[Candidate], float],
    overlap: float,
    compare: Callable[[MaskRuns, MaskRuns, float], bool],
) -> list[Candidate]:
    """The first in an order of each group of candidates that overlap more than so much."""
    kept: list[Candidate] = []
    for each in sorted(found, key=order):
        if not any(compare(each.mask, other.mask, overlap) for other in kept):
            kept.append(each)
    return kept


def _mask_overlap(one: MaskRuns, other: MaskRuns, limit: float) -> bool:
    smaller, larger = sorted((one.area, other.area))
    if not larger or smaller <= limit * larger or not _shared_box(one, other):
        return False  # whatever the pixels are
    shared = one.intersection(other)
    return shared > limit * (smaller + larger - shared)


def _box_overlap(one: MaskRuns, other: MaskRuns, limit: float) -> bool:
    # from the first pixel's place to the last one's, as the sam2 package measures
    areas = [(each.shape[0] - 1) * (each.shape[1] - 1) for each in (one, other)]
    shared = _shared_box(one, other, end=1)
    return shared > limit * (sum(areas) - shared)


def _shared_box(one: MaskRuns, other: MaskRuns, end: int = 0) -> int:
    height, width = (
        max(0, min(a.stop, b.stop) - end - max(a.start, b.start))
        for a, b in zip(one.slices, other.slices, strict=True)
    )
    return int(height * width)


def _window_area(each: Candidate) -> float:
    rows, columns = each.window
    return float((rows.stop - rows.start) * (columns.stop - columns.start))

"""Choose among the masks that a `MaskGenerator` decoded; no model is needed for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy.ndimage import label

from napari_sam2.inference.automatic.runs import RunMask

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

Box = tuple[int, int, int, int]  # (row_min, col_min, row_max, col_max), the last pixels included
Suppress = Literal["masks", "boxes"]

EIGHT = np.ones((3, 3), dtype=bool)  # pixels that touch at a corner belong together
HIDDEN = 0.5  # of a mask covered by better ones: the rest of it is no object


@dataclass(frozen=True)
class Thresholds:
    """What a mask must reach.

    Attributes
    ----------
    score, stability : float
        As in `FoundMask`.
    """

    score: float
    stability: float


# What masks must reach: the defaults of the sam2 and segment_anything packages. Our own small model
# has a lower opinion of its masks; these gave good label maps of images of nuclei kept apart.
USUAL = {"sam2": Thresholds(0.8, 0.95), "sam1": Thresholds(0.88, 0.95)}
USUAL_OF_NANO = Thresholds(0.5, 0.6)


@dataclass(frozen=True, eq=False)
class FoundMask:
    """One mask that a point led to.

    Attributes
    ----------
    runs : RunMask
        The mask; ``runs.mask()`` is the picture, ``runs.area`` its pixels.
    score : float
        The model's own estimate of the mask's IoU; 0 to 1, but SAM 1's may leave that range.
    stability : float
        IoU of the mask with its threshold moved up and down by `point_decoder.STABILITY_OFFSET`.
    point_yx : tuple of float
        (row, column) of the point.
    crop : tuple of int
        (row_min, col_min, row_max, col_max) of the part of the plane that the model saw, the last
        pixels included.
    """

    runs: RunMask
    score: float
    stability: float
    point_yx: tuple[float, float]
    crop: Box

    @property
    def box(self) -> Box:
        """(row_min, col_min, row_max, col_max) around the mask, the last pixels included."""
        rows, columns = self.runs.slices
        return rows.start, columns.start, rows.stop - 1, columns.stop - 1


@dataclass(frozen=True, eq=False)
class FoundMasks:
    """The masks that were chosen, best first.

    It can be iterated over and indexed like a tuple of `FoundMask`.

    Attributes
    ----------
    shape : tuple of int
        (Y, X) of the plane.
    masks : tuple of FoundMask
        In descending order of their scores.
    smallest : int
        As they were chosen with; holds for what is painted of them, too.
    """

    shape: tuple[int, int]
    masks: tuple[FoundMask, ...]
    smallest: int = 0

    def __len__(self) -> int:
        return len(self.masks)

    def __iter__(self) -> Iterator[FoundMask]:
        return iter(self.masks)

    def __getitem__(self, index: int) -> FoundMask:
        return self.masks[index]

    def labels(self) -> NDArray[np.uint32]:
        """Paint the masks into one label map without overlaps.

        A pixel goes to the mask with the higher score: logits of different points, let alone of
        different crops, have no common measure, and masks of large regions have larger ones. A
        mask that is mostly covered by better ones is left out, as only a rim of it would show.

        Returns
        -------
        array of uint32, shape (Y, X)
            0 is background; a label is the index of its mask in ``masks``, from 1.
        """
        labels = np.zeros(self.shape, dtype=np.uint32)
        for number, found in enumerate(self.masks, start=1):
            part = labels[found.runs.slices]
            free = found.runs.crop() & (part == 0)
            if np.count_nonzero(free) > (1 - HIDDEN) * found.runs.area:
                part[large_parts(free, self.smallest)] = number
        return labels


@dataclass(frozen=True, eq=False)
class Candidates:
    """Every mask that was decoded on a plane, to be chosen from as often as wanted.

    Attributes
    ----------
    shape : tuple of int
        (Y, X) of the plane.
    masks : tuple of FoundMask
        In the order of the points; up to three of each.
    decoded, points : int
        How many points were decoded so far, and how many there are. A point counts once for each
        crop that it lies in.
    floors : Thresholds
        What masks had to reach to be kept.
    usual : Thresholds
        What they must reach to be chosen, unless `choose` is told otherwise.
    """

    shape: tuple[int, int]
    masks: tuple[FoundMask, ...]
    decoded: int
    points: int
    floors: Thresholds
    usual: Thresholds

    def choose(
        self,
        score_threshold: float | None = None,
        stability_threshold: float | None = None,
        overlap_threshold: float = 0.7,
        smallest: int = 0,
        suppress: Suppress = "masks",
    ) -> FoundMasks:
        """Choose the good masks, each object once.

        Of masks that overlap too much the one with the highest score stays; of those from different
        crops, that of the smaller crop, which shows the object larger.

        Parameters
        ----------
        score_threshold : float, optional
            Scores must be above it; not below ``floors.score``. By default ``usual.score``.
        stability_threshold : float, optional
            Stabilities must reach it; not below ``floors.stability``. By default
            ``usual.stability``.
        overlap_threshold : float
            Two masks with a larger IoU are the same object; 0 to 1. The default is that of the
            sam2 package.
        smallest : int
            In pixels: smaller holes of a mask are filled, smaller parts taken away, and smaller
            masks left out. Masks that needed it yield to those that did not, where they have come
            to overlap. (The sam2 package keeps the largest part of a mask that is smaller.)
        suppress : {"masks", "boxes"}
            Whether the IoU is that of masks, or of their boxes as in the sam2 package. Boxes of
            neighbours that lie aslant overlap although the masks do not.

        Returns
        -------
        FoundMasks
            Best first; perhaps none.

        Raises
        ------
        ValueError
            When a threshold lies below its floor, or a value has no meaning.
        """
        if score_threshold is None:
            score_threshold = max(self.usual.score, self.floors.score)
        if stability_threshold is None:
            stability_threshold = max(self.usual.stability, self.floors.stability)
        self._check(score_threshold, stability_threshold, overlap_threshold, smallest, suppress)
        by_crop: dict[Box, list[FoundMask]] = {}
        for found in self.masks:
            if found.score > score_threshold and found.stability >= stability_threshold:
                by_crop.setdefault(found.crop, []).append(found)
        kept: list[FoundMask] = []
        for group in by_crop.values():
            best_first = sorted(group, key=_worst)
            kept += _without_duplicates(best_first, overlap_threshold, suppress)
        if len(by_crop) > 1:
            smallest_first = sorted(kept, key=_crop_area)
            kept = _without_duplicates(smallest_first, overlap_threshold, suppress)
        if smallest:
            cleaned = [_cleaned(found, smallest) for found in kept]
            order = sorted(range(len(kept)), key=lambda n: cleaned[n] is not kept[n])
            remaining = [cleaned[n] for n in order if cleaned[n].runs.area >= smallest]
            kept = _without_duplicates(remaining, overlap_threshold, suppress)
        return FoundMasks(self.shape, tuple(sorted(kept, key=_worst)), smallest)

    def _check(
        self, score: float, stability: float, overlap: float, smallest: int, suppress: str
    ) -> None:
        for name, threshold, floor in (
            ("score", score, self.floors.score),
            ("stability", stability, self.floors.stability),
        ):
            if not threshold >= floor:
                raise ValueError(
                    f"{name}_threshold is {threshold}, but masks below {floor} were not kept. "
                    f"Raise it, or generate again with MaskGenerator(..., {name}_floor=...)."
                )
        if not 0 <= overlap <= 1:
            raise ValueError(f"overlap_threshold is {overlap}; an IoU is from 0 to 1.")
        if smallest < 0:
            raise ValueError(f"smallest is {smallest}; it is a number of pixels, 0 for none.")
        if suppress not in ("masks", "boxes"):
            raise ValueError(f"suppress is {suppress!r}, but must be 'masks' or 'boxes'.")


def _worst(found: FoundMask) -> float:
    return -found.score


def _crop_area(found: FoundMask) -> int:
    row_min, col_min, row_max, col_max = found.crop
    return (row_max - row_min + 1) * (col_max - col_min + 1)


def _without_duplicates(
    masks: Sequence[FoundMask], overlap: float, suppress: Suppress
) -> list[FoundMask]:
    """Go through masks in order: each takes those after it away that overlap with it too much."""
    if not masks:
        return []
    boxes = np.array([found.box for found in masks], dtype=float)
    if suppress == "masks":
        ends = boxes[:, 2:] + 1
        areas = np.array([found.runs.area for found in masks], dtype=float)
    else:  # the sam2 package lets boxes end at the centres of their last pixels
        ends = boxes[:, 2:]
        areas = (ends - boxes[:, :2]).prod(axis=1)
    left = np.arange(len(masks))
    kept = []
    while left.size:
        first, left = left[0], left[1:]
        kept.append(masks[first])
        sides = np.minimum(ends[left], ends[first]) - np.maximum(boxes[left, :2], boxes[first, :2])
        # masks share at most what their boxes share, and at most the smaller mask
        shared = sides.clip(min=0).prod(axis=1)
        shared = np.minimum(shared, np.minimum(areas[left], areas[first]))
        alike = shared > overlap * (areas[left] + areas[first] - shared)
        if suppress == "masks":
            for index in np.flatnonzero(alike):
                alike[index] = _overlap(masks[first], masks[left[index]]) > overlap
        left = left[~alike]
    return kept


def _overlap(first: FoundMask, second: FoundMask) -> float:
    shared = first.runs.intersection(second.runs)
    return shared / (first.runs.area + second.runs.area - shared)


def large_parts(mask: NDArray[np.bool_], smallest: int) -> NDArray[np.bool_]:
    """A mask without its parts of fewer pixels."""
    if not smallest:
        return mask
    parts, _ = label(mask, EIGHT)
    large = np.bincount(parts.ravel()) >= smallest
    large[0] = False
    kept: NDArray[np.bool_] = large[parts]
    return kept


def _cleaned(found: FoundMask, smallest: int) -> FoundMask:
    """Fill holes and take parts away that are smaller; the same mask where there are none."""
    (rows, columns), shape = found.runs.slices, found.runs.shape
    margins = [
        (int(part.start > 0), int(part.stop < length))
        for part, length in zip((rows, columns), shape, strict=True)
    ]
    crop = found.runs.crop()
    mask = np.pad(crop, margins)
    # the margin is there wherever the plane goes on: what is joined to it is no hole
    margin = np.pad(np.zeros_like(crop), margins, constant_values=True)
    gaps, _ = label(~mask, EIGHT)
    small = np.bincount(gaps.ravel()) < smallest
    small[0] = False
    small[gaps[margin]] = False
    cleaned = large_parts(mask | small[gaps], smallest)
    if np.array_equal(cleaned, mask):
        return found
    origin = rows.start - margins[0][0], columns.start - margins[1][0]
    return replace(found, runs=RunMask.of(cleaned, shape, origin))

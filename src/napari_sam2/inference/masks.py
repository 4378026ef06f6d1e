"""Arithmetic on masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.inference.crops import MaskCrop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_sam2.inference.frames import ArrayLike

MOST = float(np.finfo(np.float16).max)
NO_MASK = MaskCrop(np.zeros((0, 0), dtype=np.float16), (0, 0))
SAME = 0.4  # IoU of masks that are one thing twice: of films and embryos, 0.2 to 0.4 came out alike
BAND = 512  # rows of an array of labels that are read at a time; as long as a chunk of OME-Zarr


def intersection_over_union(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """IoU of two masks of the same shape; 1.0 when both are empty."""
    union = int(np.logical_or(first, second).sum())
    return int(np.logical_and(first, second).sum()) / union if union else 1.0


def bounding_box(mask: NDArray[np.bool_]) -> tuple[slice, slice] | None:
    """Smallest box around a mask of shape (Y, X), as slices; None when it is empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def labels_from_crops(
    crops: Sequence[MaskCrop], object_ids: Sequence[int], shape: tuple[int, int]
) -> NDArray[np.uint32]:
    """Paint crops into one label map.

    Parameters
    ----------
    crops : sequence of MaskCrop
        One for each object.
    object_ids : sequence of int
        The label of each crop.
    shape : tuple of int
        (Y, X) of the plane.

    Returns
    -------
    array of uint32, shape (Y, X)
        0 is background. Where objects overlap the larger logit wins; equal ones go to the first.
    """
    labels = np.zeros(shape, dtype=np.uint32)
    highest = np.zeros(shape, dtype=np.float16)
    for crop, object_id in zip(crops, object_ids, strict=True):
        wins = crop.logits > highest[crop.slices]
        labels[crop.slices][wins] = object_id
        highest[crop.slices][wins] = crop.logits[wins]
    return labels


def repeated_masks(crops: Sequence[MaskCrop], worth: Callable[[int], float]) -> set[int]:
    """Which masks another one of greater worth nearly equals, to an IoU of `SAME`.

    Parameters
    ----------
    crops : sequence of MaskCrop
        On one plane.
    worth : callable
        Gives that of a mask by its index; asked only of those that another one nearly equals. Of
        equal ones the first is kept.

    Returns
    -------
    set of int
        Their indices.
    """
    boxes = np.array([[*crop.origin, *crop.origin] for crop in crops]).reshape(-1, 4)
    boxes[:, 2:] += np.array([crop.logits.shape for crop in crops]).reshape(-1, 2)
    equals: dict[int, set[int]] = {}
    for index, crop in enumerate(crops):
        low = np.maximum(boxes[:index, :2], boxes[index, :2])
        high = np.minimum(boxes[:index, 2:], boxes[index, 2:])
        for other in np.flatnonzero((low < high).all(axis=1)).tolist():
            if _overlap(crop, crops[other]) > SAME:
                equals.setdefault(index, set()).add(other)
                equals.setdefault(other, set()).add(index)
    repeated: set[int] = set()
    for index in sorted(sorted(equals), key=worth, reverse=True):
        if index not in repeated:
            repeated |= equals[index]
    return repeated


def _overlap(first: MaskCrop, second: MaskCrop) -> float:
    """IoU of two masks whose boxes meet."""
    low = np.maximum(first.origin, second.origin)
    high = np.minimum(*(np.add(crop.origin, crop.logits.shape) for crop in (first, second)))
    parts = [
        crop.logits[tuple(map(slice, low - crop.origin, high - crop.origin))] > 0
        for crop in (first, second)
    ]
    shared = int(np.count_nonzero(parts[0] & parts[1]))
    union = sum(int(np.count_nonzero(crop.logits > 0)) for crop in (first, second)) - shared
    return shared / union if union else 0.0


def crop_of(logits: NDArray[np.float32]) -> MaskCrop:
    """Keep the part of mask logits, shape (Y, X), around what is larger than 0."""
    mask = logits > 0
    box = bounding_box(mask)
    if box is None:
        return NO_MASK
    return MaskCrop(half_precision(logits[box]), (box[0].start, box[1].start))


def half_precision(logits: NDArray[np.float32]) -> NDArray[np.float16]:
    """Mask logits as float16, the same ones above 0."""
    half = logits.clip(-MOST, MOST).astype(np.float16)
    # a logit just above 0 must not be rounded to 0
    half[(logits > 0) & (half <= 0)] = np.finfo(np.float16).smallest_subnormal
    return half


def bands(shape: tuple[int, ...]) -> Iterator[tuple[int | slice, ...]]:
    """Indices of all rows of an array of shape (..., Y, X), some at a time."""
    for plane in np.ndindex(*shape[:-2]):
        for row in range(0, shape[-2], BAND):
            yield (*plane, slice(row, row + BAND))


def label_numbers(labels: ArrayLike) -> NDArray[np.int64]:
    """The labels that there are, 0 aside, ascending; only some rows are read at a time."""
    there = np.zeros(0, np.int64)
    for band in bands(tuple(labels.shape)):
        found = np.asarray(labels[band])
        if found.any():
            there = np.union1d(there, found)
    return there[there > 0].astype(np.int64)


def smallest_dtype(numbers: NDArray[np.int64]) -> np.dtype[np.unsignedinteger]:
    """The smallest type that holds labels, of which `label_numbers` gives the numbers."""
    return np.min_scalar_type(int(numbers.max(initial=0)))


def count_objects(labels: ArrayLike) -> int:
    """How many labels there are, 0 aside."""
    return len(label_numbers(labels))

"""Masks as labels in an array of the image's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.masks import labels_from_crops
from napari_sam2.session.values import FrameChange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_sam2.session.values import ObjectMask, StackKey


def write_labels(labels: Any, change: FrameChange) -> None:
    """Replace what a frame showed before by what it shows after.

    Only background and pixels that the same objects filled before are overwritten: what else
    lies in the array stays.

    Parameters
    ----------
    labels : array-like of int
        Of the image's shape; changed in place.
    change : FrameChange
        The masks of one frame.
    """
    region = _bounding_region((*change.before.values(), *change.after.values()))
    if region is None:
        return
    index = plane_index(change.stack, change.frame, region)
    block = np.array(labels[index])
    _erase(block, change.before, region)
    _fill(block, change.after, region)
    labels[index] = block


def label_image(
    masks: Mapping[StackKey, Mapping[int, Mapping[int, ObjectMask]]], shape: tuple[int, ...]
) -> NDArray[np.uint16]:
    """All masks of an image as labels; where objects overlap, the larger logit wins.

    Parameters
    ----------
    masks : mapping of StackKey to mapping of int to mapping of int to ObjectMask
        By stack, frame and object.
    shape : tuple of int
        Of the image, without colours.
    """
    labels = np.zeros(shape, dtype=np.uint16)
    for stack, frames in masks.items():
        for frame, found in frames.items():
            write_labels(labels, FrameChange(stack, frame, {}, found))
    return labels


def plane_index(
    stack: StackKey, frame: int, region: tuple[slice, slice]
) -> tuple[int | slice, ...]:
    """Index of a region of one frame in an array of the image's shape.

    Parameters
    ----------
    stack : StackKey
        The stack of the frame.
    frame : int
        Index along the frame axis.
    region : tuple of slice
        Rows and columns of the plane.
    """
    index = dict(zip(stack.plane_axes, region, strict=True)) | dict(stack.fixed)
    if stack.frame_axis is not None:
        index[stack.frame_axis] = frame
    return tuple(index[axis] for axis in sorted(index))


def _bounding_region(masks: tuple[ObjectMask, ...]) -> tuple[slice, slice] | None:
    parts = [mask.crop.slices for mask in masks if mask.crop.logits.size]
    if not parts:
        return None
    rows, columns = zip(*parts, strict=True)
    return _hull(rows), _hull(columns)


def _hull(parts: tuple[slice, ...]) -> slice:
    return slice(min(part.start for part in parts), max(part.stop for part in parts))


def _erase(
    block: np.ndarray[Any, Any],
    masks: Mapping[int, ObjectMask],
    region: tuple[slice, slice],
) -> None:
    for object_id, mask in masks.items():
        crop = _within(mask.crop, region)
        part = block[crop.slices]
        part[(crop.logits > 0) & (part == object_id)] = 0


def _fill(
    block: np.ndarray[Any, Any],
    masks: Mapping[int, ObjectMask],
    region: tuple[slice, slice],
) -> None:
    crops = [_within(mask.crop, region) for mask in masks.values()]
    found = labels_from_crops(crops, list(masks), (block.shape[0], block.shape[1]))
    free = (block == 0) & (found > 0)
    block[free] = found[free]


def _within(crop: MaskCrop, region: tuple[slice, slice]) -> MaskCrop:
    if crop.logits.size == 0:
        return MaskCrop(crop.logits, (0, 0))
    rows, columns = region
    return MaskCrop(crop.logits, (crop.origin[0] - rows.start, crop.origin[1] - columns.start))

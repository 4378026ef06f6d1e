"""Masks as labels in an array of the image's shape."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.empty_labels import empty_labels
from napari_sam2.inference.masks import labels_from_crops
from napari_sam2.session.values import FrameChange

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_sam2.session.values import ObjectMask, StackKey


Plane = tuple[int | None, ...]  # an index of an array; None along the axes that are filled


class Pixels(NamedTuple):
    """Some pixels of an array with a label each.

    Attributes
    ----------
    where : array of int, shape (N, ndim)
        The pixels.
    labels : array of int, shape (N,)
        Their labels.
    """

    where: NDArray[np.signedinteger]
    labels: NDArray[np.integer]


class MaskOverlay:
    """Writes masks into one array of labels, and remembers the labels that they cover.

    A remembered label comes back where its mask goes away, as long as the mask's own label is
    still there: what somebody else has written over it since stays. A label with the number of an
    object is taken for that object: no other mask covers it, and it goes with the object's mask.
    """

    def __init__(self) -> None:
        self._numbers: frozenset[int] = frozenset()  # objects that were written
        self._covered: dict[tuple[Plane, int | None], Pixels] = {}  # by plane and frame axis

    def note(self, change: FrameChange) -> frozenset[int]:
        """Know the objects of a change from now on; gives all that are known."""
        new = change.after.keys() - self._numbers
        if new and bounding_region(_parts(change)) is not None:
            self._numbers |= new
        return self._numbers

    def write(
        self,
        labels: Any,
        change: FrameChange,
        protect: bool = True,
        painted: Pixels | None = None,
        known: frozenset[int] | None = None,
    ) -> None:
        """Replace what a frame showed before by what it shows after.

        Objects with numbers that the array cannot hold are left out.

        Parameters
        ----------
        labels : array-like of int
            Of the image's shape; changed in place.
        change : FrameChange
            The masks of one frame.
        protect : bool
            Whether masks fill background only. Else they cover the labels of what is no object.
        painted : Pixels, optional
            Where a person has painted objects or erased them, with the labels of what is no object
            that were there before. Neither these nor what is remembered there come back; once the
            stroke is undone, they do.
        known : frozenset of int, optional
            What `note` gave, where that was called before for this change. Changes of planes that
            do not meet may then be written in any order.
        """
        known = self.note(change) if known is None else known
        key = plane_key(change.stack, change.frame), change.stack.frame_axis
        own = self._covered.get(key)
        parts = _parts(change)
        if own is not None:
            parts.append(_extent(own.where[:, list(change.stack.plane_axes)]))
        region = bounding_region(parts)
        if region is None:
            return
        index = plane_index(change.stack, change.frame, region)
        block = np.array(labels[index])
        shown, found = (_winners(m, region, block) for m in (change.before, change.after))
        under = self._under(key[0], index, block)
        by_hand = np.zeros(block.shape, dtype=bool)
        if painted is not None:
            inside, place = _inside(painted.where, index)
            by_hand[place] = True
            under[place] = np.where(under[place] == 0, painted.labels[inside], under[place])
        # first of all, what would be there without any mask
        ours = block == shown
        base = np.where(ours, under, block)
        base[by_hand & (ours | (block == under))] = 0
        covers = base == 0
        if not protect:
            covers |= ~by_hand & ~np.isin(base, list(known.union(change.after)))
        covers &= found > 0
        kept = np.where(by_hand, under, base * covers)
        np.copyto(base, found, where=covers, casting="unsafe")  # what is found fits
        labels[index] = base
        self._covered.pop(key, None)
        if kept.any():
            self._covered[key] = Pixels(_positions(kept, index), kept[kept != 0])

    def _under(
        self, plane: Plane, index: tuple[int | slice, ...], block: NDArray[Any]
    ) -> NDArray[Any]:
        under = np.zeros_like(block)
        for (other, _), pixels in self._covered.items():
            # stacks along different axes share pixels, and may have the same object there
            if planes_meet(other, plane):
                inside, place = _inside(pixels.where, index)
                under[place] = pixels.labels[inside]
        return under


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
    MaskOverlay().write(labels, change)


def label_image(
    masks: Mapping[StackKey, Mapping[int, Mapping[int, ObjectMask]]], shape: tuple[int, ...]
) -> Any:
    """All masks of an image as labels; where objects overlap, the larger logit wins.

    They are uint32 where a number is too large for uint16, and as `empty_labels` makes them.

    Parameters
    ----------
    masks : mapping of StackKey to mapping of int to mapping of int to ObjectMask
        By stack, frame and object.
    shape : tuple of int
        Of the image, without colours.
    """
    planes = [found for frames in masks.values() for found in frames.values()]
    largest = max((max(found, default=0) for found in planes), default=0)
    labels = empty_labels(shape, np.uint16 if largest <= np.iinfo(np.uint16).max else np.uint32)
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


def plane_key(stack: StackKey, frame: int) -> Plane:
    """What identifies the plane of a frame in any stack: its index, None along the plane."""
    everywhere = slice(None), slice(None)
    index = plane_index(stack, frame, everywhere)
    return tuple(None if isinstance(part, slice) else part for part in index)


def planes_meet(first: Plane, second: Plane) -> bool:
    """Whether two planes of an array share pixels."""
    return all(None in pair or pair[0] == pair[1] for pair in zip(first, second, strict=True))


def _parts(change: FrameChange) -> list[tuple[slice, slice]]:
    return [mask.crop.slices for mask in (*change.before.values(), *change.after.values())]


def bounding_region(parts: list[tuple[slice, slice]]) -> tuple[slice, slice] | None:
    """Rows and columns around all parts that are not empty; None where there are none."""
    filled = [part for part in parts if all(side.stop > side.start for side in part)]
    if not filled:
        return None
    rows, columns = zip(*filled, strict=True)
    return _hull(rows), _hull(columns)


def _extent(pixels: NDArray[np.signedinteger]) -> tuple[slice, slice]:
    first, last = pixels.min(axis=0).tolist(), pixels.max(axis=0).tolist()
    return slice(first[0], last[0] + 1), slice(first[1], last[1] + 1)


def _hull(parts: tuple[slice, ...]) -> slice:
    return slice(min(part.start for part in parts), max(part.stop for part in parts))


def _winners(
    masks: Mapping[int, ObjectMask], region: tuple[slice, slice], block: NDArray[Any]
) -> NDArray[np.uint32]:
    largest = np.iinfo(block.dtype).max
    crops = {n: _within(mask.crop, region) for n, mask in masks.items() if n <= largest}
    return labels_from_crops(list(crops.values()), list(crops), (block.shape[0], block.shape[1]))


def _inside(
    where: NDArray[np.signedinteger], index: tuple[int | slice, ...]
) -> tuple[NDArray[np.bool_], tuple[NDArray[np.signedinteger], ...]]:
    """Say which pixels of an array lie in an indexed block, and at which rows and columns of it."""
    inside = np.ones(len(where), dtype=bool)
    place = []
    for part, at in zip(index, where.T, strict=True):
        if isinstance(part, slice):
            inside &= (at >= part.start) & (at < part.stop)
            place.append(at - part.start)
        else:
            inside &= at == part
    return inside, tuple(at[inside] for at in place)


def _positions(block: NDArray[Any], index: tuple[int | slice, ...]) -> NDArray[np.int32]:
    """Pixels of the array where an indexed block is not 0."""
    found = iter(np.nonzero(block))
    parts = [next(found) + p.start if isinstance(p, slice) else p for p in index]
    return np.stack(np.broadcast_arrays(*parts), axis=-1).astype(np.int32)


def _within(crop: MaskCrop, region: tuple[slice, slice]) -> MaskCrop:
    if crop.logits.size == 0:
        return MaskCrop(crop.logits, (0, 0))
    rows, columns = region
    return MaskCrop(crop.logits, (crop.origin[0] - rows.start, crop.origin[1] - columns.start))

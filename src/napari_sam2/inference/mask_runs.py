"""Masks kept as run lengths: thousands of them fit into memory."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_sam2.inference.masks import bounding_box

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class MaskRuns:
    """A mask as where its bounding box, read row by row, changes between background and object.

    Attributes
    ----------
    origin : tuple of int
        (row, column) of the box's first pixel in the plane.
    shape : tuple of int
        (height, width) of the box; (0, 0) of an empty mask.
    changes : array of int32, shape (n,)
        Positions in the box, row by row, at which a run begins; the first is of the object.
    """

    origin: tuple[int, int]
    shape: tuple[int, int]
    changes: NDArray[np.int32]

    @classmethod
    def of(cls, mask: NDArray[np.bool_], origin: tuple[int, int] = (0, 0)) -> MaskRuns:
        """Keep a mask of shape (Y, X) whose first pixel lies at an origin."""
        box = bounding_box(mask)
        if box is None:
            return cls(origin, (0, 0), np.zeros(0, dtype=np.int32))
        part = mask[box]
        flat = np.concatenate([[False], part.ravel()])
        changes = np.flatnonzero(flat[1:] != flat[:-1]).astype(np.int32)
        return cls((origin[0] + box[0].start, origin[1] + box[1].start), part.shape, changes)

    @property
    def slices(self) -> tuple[slice, slice]:
        """Where the box lies in the plane."""
        (row, column), (height, width) = self.origin, self.shape
        return slice(row, row + height), slice(column, column + width)

    @cached_property
    def area(self) -> int:
        """Pixels of the mask."""
        ends = self.changes
        if len(ends) % 2:  # the last run reaches the end of the box
            ends = np.append(ends, self.shape[0] * self.shape[1])
        return int((ends[1::2] - ends[::2]).sum())

    def expand(self) -> NDArray[np.bool_]:
        """The mask inside its box, bool of this `shape`."""
        flips = np.zeros(self.shape[0] * self.shape[1], dtype=bool)
        flips[self.changes] = True
        mask: NDArray[np.bool_] = np.logical_xor.accumulate(flips).reshape(self.shape)
        return mask

    def intersection(self, other: MaskRuns) -> int:
        """Pixels that two masks of one plane share."""
        rows, columns = (
            slice(max(a.start, b.start), min(a.stop, b.stop))
            for a, b in zip(self.slices, other.slices, strict=True)
        )
        if rows.start >= rows.stop or columns.start >= columns.stop:
            return 0
        parts = [
            each.expand()[
                rows.start - each.origin[0] : rows.stop - each.origin[0],
                columns.start - each.origin[1] : columns.stop - each.origin[1],
            ]
            for each in (self, other)
        ]
        return int((parts[0] & parts[1]).sum())

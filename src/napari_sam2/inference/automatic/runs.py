"""Masks kept as the stretches of pixels that they cover, row by row."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class RunMask:
    """A mask whose memory follows the length of its outline, not its area.

    Thousands of masks of a plane are so kept and compared without a picture of any.

    Attributes
    ----------
    runs : array of int64, shape (R, 2)
        The place of each run's first pixel, and the place after its last, in ascending order. The
        place of a pixel is row x (X + 1) + column: one more than there are pixels in a row, so that
        a run never goes on in the next row.
    shape : tuple of int
        (Y, X) of the plane.
    """

    runs: NDArray[np.int64]
    shape: tuple[int, int]

    @classmethod
    def of(
        cls, mask: NDArray[np.bool_], shape: tuple[int, int], origin: tuple[int, int] = (0, 0)
    ) -> RunMask:
        """Keep a mask, or the part of one whose first pixel is at ``origin`` of the plane."""
        height, width = mask.shape
        padded = np.zeros((height, width + 2), dtype=bool)
        padded[:, 1:-1] = mask
        # a pixel differs from the one to its left where a run begins, and after its last pixel
        rows, columns = np.nonzero(padded[:, 1:] != padded[:, :-1])
        places = (rows + origin[0]) * (shape[1] + 1) + columns + origin[1]
        return cls(places.reshape(-1, 2), shape)

    @cached_property
    def area(self) -> int:
        """Pixels of the mask."""
        return int((self.runs[:, 1] - self.runs[:, 0]).sum())

    @cached_property
    def slices(self) -> tuple[slice, slice]:
        """The smallest box around the mask, which must not be empty."""
        stride = self.shape[1] + 1
        rows = self.runs[[0, -1], 0] // stride
        columns = self.runs % stride
        return (
            slice(int(rows[0]), int(rows[1]) + 1),
            slice(int(columns[:, 0].min()), int(columns[:, 1].max())),
        )

    def crop(self) -> NDArray[np.bool_]:
        """The mask inside its box, `slices`; bool of shape (y, x)."""
        rows, columns = self.slices
        turns = np.zeros((rows.stop - rows.start, columns.stop - columns.start + 1), dtype=bool)
        row, column = np.divmod(self.runs, self.shape[1] + 1)
        turns[row - rows.start, column - columns.start] = True
        crop: NDArray[np.bool_] = np.logical_xor.accumulate(turns, axis=1)[:, :-1]
        return crop

    def mask(self) -> NDArray[np.bool_]:
        """The mask as bool of shape (Y, X)."""
        mask = np.zeros(self.shape, dtype=bool)
        if self.area:
            mask[self.slices] = self.crop()
        return mask

    def intersection(self, other: RunMask) -> int:
        """How many pixels two masks of one plane have in common."""
        if not (self.area and other.area):
            return 0
        # pixels of the other mask before each place: none, and then one more at each of its pixels
        covered = np.interp(self.runs, other.runs.ravel(), other._before)
        return int((covered[:, 1] - covered[:, 0]).sum())

    @cached_property
    def _before(self) -> NDArray[np.int64]:
        """How many pixels of the mask lie before each of its places in order, shape (2 R,)."""
        lengths = np.diff(self.runs, axis=1)[:, 0]
        after = np.cumsum(lengths)
        return np.stack([after - lengths, after], axis=1).ravel()

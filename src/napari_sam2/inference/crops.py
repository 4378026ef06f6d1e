"""Masks kept as their bounding boxes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class MaskCrop:
    """A mask kept as its bounding box, so that memory follows the object and not the plane.

    Attributes
    ----------
    logits : array of float16, shape (y, x)
        Mask logits inside the box; larger than 0 means object.
    origin : tuple of int
        (row, column) of the crop's first pixel in the plane.
    """

    logits: NDArray[np.float16]
    origin: tuple[int, int]

    @property
    def slices(self) -> tuple[slice, slice]:
        """Where the crop lies in the plane."""
        (row, column), (height, width) = self.origin, self.logits.shape
        return slice(row, row + height), slice(column, column + width)

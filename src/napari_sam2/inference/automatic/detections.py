"""What was found on each frame of a stack, without the pictures; what linking needs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Detections:
    """Counts the objects of frame after frame, and how they overlap with those shortly before.

    Only so many label maps are kept as overlaps need, so that memory follows the number of
    objects, not the length of the stack.

    Parameters
    ----------
    reach : int
        Overlaps are counted with so many frames before.

    Attributes
    ----------
    areas : list of array of int64, shape (n,)
        For each frame, the pixels of each object.
    centres : list of array of float64, shape (n, 2)
        For each frame, the mean (row, column) of each object.
    """

    def __init__(self, reach: int) -> None:
        self.areas: list[NDArray[np.int64]] = []
        self.centres: list[NDArray[np.float64]] = []
        self._latest: deque[NDArray[np.uint32]] = deque(maxlen=reach)
        self._shared: dict[tuple[int, int], NDArray[np.int64]] = {}

    def add(self, labels: NDArray[np.integer[Any]]) -> NDArray[np.uint32]:
        """Take in the next frame.

        Parameters
        ----------
        labels : array of int, shape (Y, X)
            One label for each object, in any order; 0 is background.

        Returns
        -------
        array of uint32, shape (Y, X)
            The same objects, labelled 1 to n in the order of the lists here.
        """
        values, flat = np.unique(labels, return_inverse=True)
        flat = flat.reshape(labels.shape) + int(values[0] != 0)
        numbered: NDArray[np.uint32] = flat.astype(np.uint32)
        frame = len(self.areas)
        rows, columns = np.nonzero(numbered)
        which = numbered[rows, columns]
        areas = np.bincount(which)[1:]
        sums = [np.bincount(which, weights=place)[1:] for place in (rows, columns)]
        self.areas.append(areas)
        self.centres.append(np.stack(sums, axis=1) / areas[:, None])
        for back, before in enumerate(reversed(self._latest), start=1):
            both = (before > 0) & (numbered > 0)
            pairs = np.stack([before[both], numbered[both]], axis=1).astype(np.int64) - 1
            found, counts = np.unique(pairs, axis=0, return_counts=True)
            self._shared[frame - back, frame] = np.column_stack([found, counts])
        self._latest.append(numbered)
        return numbered

    def shared(self, before: int, frame: int) -> NDArray[np.int64]:
        """Pixels that each object of a frame has in common with each of a frame before, (m, n)."""
        table = np.zeros((len(self.areas[before]), len(self.areas[frame])), np.int64)
        first, second, counts = self._shared[before, frame].T
        table[first, second] = counts
        return table

    def overlaps(self, before: int, frame: int) -> NDArray[np.float64]:
        """IoU of each object of a frame with each of a frame before, (m, n)."""
        shared = self.shared(before, frame)
        together = self.areas[before][:, None] + self.areas[frame] - shared
        overlaps: NDArray[np.float64] = shared / together
        return overlaps


@dataclass(frozen=True, eq=False)
class Links:
    """Which detections are the same object.

    Attributes
    ----------
    ids : list of array of int64, shape (n,)
        For each frame, the number of the object that each detection is; 0 for none.
    parents : dict of int to int
        The mother's number for that of each daughter.
    """

    ids: list[NDArray[np.int64]]
    parents: dict[int, int]

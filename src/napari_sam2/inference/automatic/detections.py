"""What was found on each frame of a stack, without the pictures; what linking needs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

BAND = 1024  # rows worked on at a time, so that what is counted needs little beside a large plane


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
        # places of two frames' objects that overlap, and in how many pixels
        self._shared: dict[tuple[int, int], tuple[NDArray[np.int64], ...]] = {}

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
        frame = len(self.areas)
        values = np.unique(np.concatenate([np.unique(band) for band in _bands(labels)]))
        values = values[values != 0]
        numbered = np.empty(labels.shape, np.uint32)
        sums = np.zeros((3, len(values) + 1))  # of pixels, rows and columns
        for top, band in enumerate(_bands(labels)):
            own = np.searchsorted(values, band) + 1
            own[band == 0] = 0
            rows, columns = np.nonzero(own)
            which = own[rows, columns]
            for total, weights in zip(sums, (None, rows + top * BAND, columns), strict=True):
                total += np.bincount(which, weights, minlength=len(total))
            numbered[top * BAND :][: len(own)] = own
        areas, *places = sums[:, 1:]
        self.areas.append(areas.astype(np.int64))
        self.centres.append(np.stack(places, axis=1) / areas[:, None])
        for back, before in enumerate(reversed(self._latest), start=1):
            self._shared[frame - back, frame] = _shared(before, numbered, len(values))
        self._latest.append(numbered)
        return numbered

    def shared(self, before: int, frame: int) -> dict[tuple[int, int], int]:
        """Pixels that objects of two frames have in common, by their places in the lists."""
        first, second, counts = (values.tolist() for values in self._shared[before, frame])
        return dict(zip(zip(first, second, strict=True), counts, strict=True))

    def overlapping(
        self, before: int, frame: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Places (p,) in the lists of two frames of objects that overlap, and their IoU (p,)."""
        first, second, counts = self._shared[before, frame]
        together = self.areas[before][first] + self.areas[frame][second] - counts
        return first, second, counts / together


def _bands(plane: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """A plane in bands of `BAND` rows."""
    return (plane[top : top + BAND] for top in range(0, len(plane), BAND))


def _shared(
    before: NDArray[np.uint32], numbered: NDArray[np.uint32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Places (p,) of what overlaps in two planes, of which the second has so many objects."""
    found = [np.zeros((0, 2), np.int64)]
    for one, other in zip(_bands(before), _bands(numbered), strict=True):
        both = (one > 0) & (other > 0)
        pairs = (one[both].astype(np.int64) - 1) * count + other[both] - 1
        found.append(np.stack(np.unique(pairs, return_counts=True), axis=1))
    pairs, counts = np.concatenate(found).T
    pairs, where = np.unique(pairs, return_inverse=True)
    first, second = np.divmod(pairs, max(count, 1))
    return first, second, np.bincount(where, counts, minlength=len(pairs)).astype(np.int64)


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

"""Link what was found on each plane of a z-stack into objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from napari_sam2.inference.automatic.detections import Links
from napari_sam2.inference.errors import check_whole

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_sam2.inference.automatic.detections import Detections


@dataclass(frozen=True)
class ThroughDepth:
    """Links masks of neighbouring planes that overlap into objects, for `StackSegmenter`.

    Attributes
    ----------
    overlap : float
        Two masks with at least this IoU are of one object; 0 to 1. Each goes on as one at most,
        and as many go on as can with the largest sum of overlaps.
    gap : int
        An object may be missed on so many planes in a row.
    least_planes : int
        Objects that were found on fewer planes are left out; where the stack has fewer, those
        that are not on all of them.
    smallest : int
        Objects of fewer voxels are left out.
    """

    overlap: float = 0.5
    gap: int = 1
    least_planes: int = 3
    smallest: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.overlap <= 1:
            raise ValueError(f"overlap is {self.overlap}; it is an IoU, above 0 and at most 1.")
        for name in ("gap", "least_planes", "smallest"):
            check_whole(name, getattr(self, name))

    def __call__(self, detections: Detections) -> Links:
        """Link all detections.

        Parameters
        ----------
        detections : Detections
            Of every plane.

        Returns
        -------
        Links
            The objects, numbered from 1 in the order in which they begin.
        """
        ids: list[NDArray[np.int64]] = []
        count = 0
        for plane, areas in enumerate(detections.areas):
            own = np.zeros(len(areas), np.int64)
            for before in range(plane - 1, max(plane - 2 - self.gap, -1), -1):
                first, second, overlaps = detections.overlapping(before, plane)
                # an object that goes on nearer by does not go on from here, too
                nearer = np.concatenate([own, *ids[before + 1 :]])
                free = (own[second] == 0) & ~np.isin(ids[before][first], nearer)
                kept = free & (overlaps >= self.overlap)
                first, second = _assigned(first[kept], second[kept], overlaps[kept])
                own[second] = ids[before][first]
            new = np.flatnonzero(own == 0)
            own[new] = count + 1 + np.arange(len(new))
            count += len(new)
            ids.append(own)
        return Links(self._large_enough(ids, detections.areas, count), {})

    def _large_enough(
        self, ids: list[NDArray[np.int64]], areas: list[NDArray[np.int64]], count: int
    ) -> list[NDArray[np.int64]]:
        """Leave small objects out, and number the others anew."""
        if not ids:
            return ids
        every = np.concatenate(ids)
        planes = np.bincount(every, minlength=count + 1)
        voxels = np.bincount(every, weights=np.concatenate(areas), minlength=count + 1)
        least = min(self.least_planes, len(ids))  # a stack may have fewer
        kept = (planes >= least) & (voxels >= self.smallest)
        kept[0] = False
        numbers = np.where(kept, np.cumsum(kept), 0)
        return [numbers[own] for own in ids]


def _assigned(
    first: NDArray[np.int64], second: NDArray[np.int64], overlaps: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of pairs (p,) those that have the largest sum of overlaps, each object in one at most.

    Pairs that have no object in common with another, nearly all of them, need no search. The others
    fall into small groups: a table of every object of a plane with every other would not fit.
    """
    rows, row = np.unique(first, return_inverse=True)
    columns, column = np.unique(second, return_inverse=True)
    size = len(rows) + len(columns)
    graph = coo_array((overlaps, (row, len(rows) + column)), shape=(size, size))
    group = connected_components(graph, directed=False)[1][row]
    chosen = np.bincount(group)[group] == 1 if len(group) else np.zeros(0, bool)
    for each in np.unique(group[~chosen]):
        pairs = np.flatnonzero(group == each)
        own_rows, own_row = np.unique(row[pairs], return_inverse=True)
        own_columns, own_column = np.unique(column[pairs], return_inverse=True)
        table = np.zeros((len(own_rows), len(own_columns)))
        table[own_row, own_column] = overlaps[pairs]
        best = linear_sum_assignment(table, maximize=True)
        taken = np.zeros(table.shape, bool)
        taken[best] = True
        chosen[pairs] = taken[own_row, own_column]
    return first[chosen], second[chosen]

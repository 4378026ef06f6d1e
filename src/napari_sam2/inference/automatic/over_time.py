"""Link what was found at each time of a time-lapse into tracks that divide."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from scipy.spatial import KDTree

from napari_sam2.inference.automatic.detections import Links
from napari_sam2.inference.errors import check_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from laptrack import LapTrack

    from napari_sam2.inference.automatic.detections import Detections

    Node = tuple[int, int]  # frame, and place in the lists of that frame

FARTHEST = 2.0  # cost of two objects at the largest distance that have nothing in common


@dataclass(frozen=True)
class OverTime:
    """Links objects of a time-lapse into tracks that divide, for `StackSegmenter`.

    The laptrack package finds the links of least cost, after Jaqaman et al. (2008). A link costs
    the distance of the centres as a part of the largest allowed, and what part of the smaller
    object does not overlap with the larger.

    Attributes
    ----------
    max_distance : float or None
        In pixels, how far a centre may move from one frame to the next. By default the diameter
        of a typical object.
    gap : int
        An object may be missed on so many frames in a row.
    divisions : bool
        Whether objects divide. A track ends where its object divides, and two begin, both smaller
        than it and found on more than one frame, unless the film ends.
    least_frames : int
        Tracks of fewer frames are left out, unless they come from a division or end in one.

    Raises
    ------
    ImportError
        When laptrack is not installed.
    ValueError
        When a setting has no meaning.
    """

    max_distance: float | None = None
    gap: int = 1
    divisions: bool = True
    least_frames: int = 2

    def __post_init__(self) -> None:
        if find_spec("laptrack") is None:
            raise ImportError(
                "Linking over time needs the package laptrack, which is not installed. "
                "Install it with: pip install 'napari-sam2[tracking]'"
            )
        if self.max_distance is not None and not self.max_distance > 0:
            raise ValueError(f"max_distance is {self.max_distance}; it must be larger than 0.")
        for name in ("gap", "least_frames"):
            check_whole(name, getattr(self, name))

    def __call__(self, detections: Detections) -> Links:
        """Link all detections.

        Parameters
        ----------
        detections : Detections
            Of every frame.

        Returns
        -------
        Links
            The tracks, numbered from 1 in the order in which they begin, and the mothers.
        """
        if not any(map(len, detections.areas)):
            return Links([np.zeros(0, np.int64) for _ in detections.areas], {})
        typical = 2 * np.sqrt(np.median(np.concatenate(detections.areas)) / np.pi)
        reach = float(typical) if self.max_distance is None else self.max_distance

        # laptrack asks for one link at a time, mostly of the same frames as before
        @lru_cache(maxsize=16)
        def costs(before: float, frame: float) -> dict[tuple[float, float], float]:
            return _costs(detections, int(before), int(frame), reach)

        def cost(first: Sequence[float], second: Sequence[float]) -> float:
            (before, one), (frame, other) = first, second
            if before > frame:
                before, one, frame, other = frame, other, before, one
            return costs(before, frame).get((one, other), np.inf)

        places = [
            np.stack([np.full(len(areas), float(frame)), np.arange(len(areas))], axis=1)
            for frame, areas in enumerate(detections.areas)
        ]
        tree = self._tracker(cost).predict(places)
        following: dict[Node, list[Node]] = {
            node: sorted(tree.successors(node), key=partial(cost, node)) for node in tree.nodes
        }
        last = len(places) - 1
        for mother, daughters in following.items():
            # a mask that falls into two on one frame is no division: daughters go on
            lasting = all(following[each] or each[0] == last for each in daughters)
            if len(daughters) > 1 and not (lasting and _is_smaller(detections, mother, daughters)):
                del daughters[1:]
        return _numbered(detections, following, self.least_frames)

    def _tracker(self, cost: Callable[[Sequence[float], Sequence[float]], float]) -> LapTrack:
        from laptrack import LapTrack

        # every link below the limit is better than none: nothing is estimated from the data
        limits = (
            "cutoff track_start_cost track_end_cost segment_start_cost segment_end_cost "
            "no_splitting_cost no_merging_cost"
        )
        return LapTrack(
            metric=cost,
            gap_closing_metric=cost,
            splitting_metric=cost,
            gap_closing_cutoff=FARTHEST if self.gap else False,
            gap_closing_max_frame_count=self.gap + 1,  # counted from frame to frame
            splitting_cutoff=FARTHEST if self.divisions else False,
            **dict.fromkeys(limits.split(), FARTHEST),
        )


def _numbered(
    detections: Detections, following: dict[Node, list[Node]], least_frames: int
) -> Links:
    """Number the tracks: a new one begins where nothing led to, and after a division."""
    ids = [np.zeros(len(areas), np.int64) for areas in detections.areas]
    frames = [0]  # of each track
    parents: dict[int, int] = {}
    for node in sorted(following):
        frame, place = node
        if not ids[frame][place]:
            ids[frame][place] = len(frames)
            frames.append(0)
        number = int(ids[frame][place])
        frames[number] += 1
        after = following[node]
        for later, where in after:
            ids[later][where] = number
            if len(after) > 1:
                ids[later][where] = len(frames)
                parents[len(frames)] = number
                frames.append(0)
    related = [*parents, *parents.values()]
    kept = np.array(frames) >= max(least_frames, 1)
    kept[related] = True
    numbers = np.where(kept, np.cumsum(kept), 0)
    return Links(
        [numbers[own] for own in ids],
        {int(numbers[one]): int(numbers[other]) for one, other in parents.items()},
    )


def _costs(
    detections: Detections, before: int, frame: int, reach: float
) -> dict[tuple[float, float], float]:
    """What links between two frames cost, by their places there; those too long are left out."""
    trees = (KDTree(detections.centres[each]) for each in (before, frame))
    near = next(trees).sparse_distance_matrix(next(trees), reach, output_type="ndarray")
    near = near[near["v"] < reach]
    shared = detections.shared(before, frame)
    smaller = np.minimum(detections.areas[before][near["i"]], detections.areas[frame][near["j"]])
    common = np.array([shared.get(pair, 0) for pair in zip(near["i"], near["j"], strict=True)])
    costs = near["v"] / reach + 1 - common / smaller
    return dict(
        zip(zip(near["i"].tolist(), near["j"].tolist(), strict=True), costs.tolist(), strict=True)
    )


def _is_smaller(detections: Detections, mother: Node, daughters: list[Node]) -> bool:
    """Whether daughters are smaller than their mother: otherwise a neighbour came into view."""
    whole = detections.areas[mother[0]][mother[1]]
    parts = [detections.areas[frame][place] for frame, place in daughters]
    return bool(max(parts) < 0.9 * whole)

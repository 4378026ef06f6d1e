"""Keep the features of encoded frames within a memory budget."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_sam2.model.neck import ImageFeatures

DEFAULT_BUDGET = 2**30  # bytes


class FeatureCache:
    """The most recently used features.

    Parameters
    ----------
    encode : callable
        From a frame's index to its features.
    budget : int
        Bytes; the least recently used frames are dropped beyond it. One frame is always kept.
    """

    def __init__(
        self, encode: Callable[[int], ImageFeatures], budget: int = DEFAULT_BUDGET
    ) -> None:
        self.encode = encode
        self.budget = budget
        self.encoded = 0  # encoder calls so far
        self._kept: OrderedDict[int, ImageFeatures] = OrderedDict()

    def __getitem__(self, frame: int) -> ImageFeatures:
        if frame in self._kept:
            self._kept.move_to_end(frame)
            return self._kept[frame]
        features = self.encode(frame)
        self.encoded += 1
        self._kept[frame] = features
        while len(self._kept) > 1 and self._bytes() > self.budget:
            self._kept.popitem(last=False)
        return features

    def _bytes(self) -> int:
        one = next(iter(self._kept.values()))
        each = sum(t.nbytes for t in (one.embedding, one.skip8, one.skip4))
        return each * len(self._kept)

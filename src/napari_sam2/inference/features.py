"""Keep the features of encoded frames: in memory up to a budget, then on disk."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from napari_sam2.inference.feature_store import FeatureStore
    from napari_sam2.model.neck import ImageFeatures


class FeatureCache:
    """The most recently used features.

    Parameters
    ----------
    encode : callable
        From a frame's index, or whatever names a part of a plane, to its features.
    budget : int
        Bytes; the least recently used frames leave memory beyond it. One frame is always kept.
    store : FeatureStore, optional
        Where they go to; without one they are encoded again.
    key : callable, optional
        From a frame's index to what identifies its features in the store.
    """

    def __init__(
        self,
        encode: Callable[[Any], ImageFeatures],
        budget: int,
        store: FeatureStore | None = None,
        key: Callable[[Any], str] = str,
    ) -> None:
        self.encode, self.budget, self.store = encode, budget, store
        self.encoded = 0  # encoder calls so far
        self._key = key
        self._kept: OrderedDict[Hashable, tuple[str, ImageFeatures]] = OrderedDict()

    def __contains__(self, frame: Hashable) -> bool:
        return frame in self._kept

    def __getitem__(self, frame: Hashable) -> ImageFeatures:
        if frame in self._kept:
            self._kept.move_to_end(frame)
            return self._kept[frame][1]
        key = self._key(frame) if self.store else ""
        features = self.store.get(key) if self.store else None
        if features is None:
            features = self.encode(frame)
            self.encoded += 1
        self._kept[frame] = key, features
        self._keep_within()
        return features

    def clear(self) -> None:
        """Forget what is in memory, as frames are shown in another way."""
        self._kept.clear()

    def put_away(self) -> None:
        """Leave nothing in memory, but what can be found in the store."""
        for key, features in self._kept.values():
            if self.store is not None:
                self.store.put(key, features)
        self._kept.clear()

    def shrink(self) -> bool:
        """Keep half as much from now on; False where one frame is all that is kept."""
        if len(self._kept) <= 1:
            return False
        self.budget = min(self.budget, self.nbytes) // 2
        # not stored: that takes memory, which is short
        while len(self._kept) > 1 and self.nbytes > self.budget:
            self._kept.popitem(last=False)
        return True

    def _keep_within(self) -> None:
        while len(self._kept) > 1 and self.nbytes > self.budget:
            _, (key, features) = self._kept.popitem(last=False)
            if self.store is not None:
                self.store.put(key, features)

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        if not self._kept:
            return 0
        _, one = next(iter(self._kept.values()))
        return one.nbytes * len(self._kept)

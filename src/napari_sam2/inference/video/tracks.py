"""The tracks of a predictor, and what it knew at an earlier time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_sam2.inference.video.memory_bank import Track

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_sam2.inference.video.spill import MemoryBudget


@dataclass(frozen=True, eq=False)
class Snapshot:
    """All that a predictor knew at a time; for `VideoPredictor.restore` alone."""

    tracks: Mapping[int, Track]
    memories: MemoryBudget
    contrast_limits: tuple[float, float] | None


class Tracks(dict[int, Track]):
    """Tracks by object; one that is shared with a snapshot is copied before it is changed."""

    def __init__(self, shared: Mapping[int, Track] | None = None) -> None:
        super().__init__(shared or {})
        self._shared = set(self)
        self.replaced = False  # by those of a snapshot: a pass that still runs over them ends

    def own(self, object_id: int) -> Track:
        """An object's track, to be changed."""
        if object_id in self._shared:
            self._shared.discard(object_id)
            self[object_id] = self[object_id].copy()
        return self[object_id]

    def share(self) -> Mapping[int, Track]:
        """The tracks as they are now, which nothing changes any longer."""
        self._shared = set(self)
        return dict(self)

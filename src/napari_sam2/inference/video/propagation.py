"""Carry out planned passes, frame by frame."""

from __future__ import annotations

from collections import Counter
from itertools import zip_longest
from typing import TYPE_CHECKING

from napari_sam2.inference.errors import InputError
from napari_sam2.inference.video.answers import alike

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_sam2.inference.frames import PlaneReader
    from napari_sam2.inference.video.memory_bank import Track
    from napari_sam2.inference.video.passes import Pass
    from napari_sam2.inference.video.trackers import Tracker
    from napari_sam2.inference.video.tracks import Tracks


class Propagation:
    """Carries the objects of a predictor along its passes.

    Parameters
    ----------
    tracker : Tracker
        Finds the objects on a frame.
    reader : PlaneReader
        Reads the next plane meanwhile.
    tracks : Tracks
        The objects; once they were replaced, the passes end.
    stop_when_absent, stop_when_unchanged : int or None
        As in `VideoPredictor.propagate`.
    """

    def __init__(
        self,
        tracker: Tracker,
        reader: PlaneReader,
        tracks: Tracks,
        stop_when_absent: int | None,
        stop_when_unchanged: int | None,
    ) -> None:
        self.tracker, self.reader, self.tracks = tracker, reader, tracks
        self.stop_when_absent, self.stop_when_unchanged = stop_when_absent, stop_when_unchanged

    def run(self, passes: list[Pass]) -> Iterator[int]:
        """Yield each frame as it is done.

        Raises
        ------
        InputError
            When a plane cannot be read: its pass ends there, and it is said after the others.
        """
        unreadable: InputError | None = None
        for reverse, ranges in passes:
            try:
                yield from self._run_pass(reverse, ranges)
            except InputError as error:
                unreadable = unreadable or error
        if unreadable is not None:
            raise unreadable

    def _run_pass(self, reverse: bool, ranges: dict[int, range]) -> Iterator[int]:
        absent, unchanged = Counter[int](), Counter[int]()
        frames = sorted({f for frames in ranges.values() for f in frames}, reverse=reverse)
        for frame, following in zip_longest(frames, frames[1:]):
            if self.tracks.replaced:
                return
            active = {
                object_id: self.tracks.own(object_id)
                for object_id, frames in ranges.items()
                # one that was removed and prompted anew waits for the next pass
                if frame in frames
                and object_id in self.tracks
                and self.tracks[object_id].conditioning
            }
            if not active:
                continue
            before = {object_id: track.get(frame) for object_id, track in active.items()}
            self._follow(frame, following, list(active.values()), reverse)
            yield frame
            for object_id in active.keys() & self.tracks.keys():
                known, found = before[object_id], self.tracks[object_id].get(frame)
                if found is None:
                    continue
                absent[object_id] = 0 if found.present else absent[object_id] + 1
                same = frame not in self.tracks[object_id].conditioning and alike(known, found)
                unchanged[object_id] = unchanged[object_id] + 1 if same else 0
                if absent[object_id] == self.stop_when_absent:
                    absent[object_id] = 0
                    self._leave(object_id, frame, ranges, reverse)
                elif unchanged[object_id] == self.stop_when_unchanged:
                    unchanged[object_id] = 0
                    self._skip(object_id, frame, ranges, reverse, found is not known)

    def _follow(
        self, frame: int, following: int | None, tracks: list[Track], reverse: bool
    ) -> None:
        known = following is None or following in self.tracker.features
        self.reader.following = None if known else following
        try:
            self.tracker.follow(frame, tracks, reverse)
        finally:
            self.reader.following = None

    def _leave(self, object_id: int, frame: int, ranges: dict[int, range], reverse: bool) -> None:
        """Look for an object no further, up to where it is prompted again."""
        track = self.tracks.own(object_id)
        skipped, ranges[object_id] = track.beyond(frame, ranges[object_id], reverse)
        track.forget(skipped)

    def _skip(
        self, object_id: int, frame: int, ranges: dict[int, range], reverse: bool, computed: bool
    ) -> None:
        """Leave an object as it is known, up to where it is prompted again."""
        track = self.tracks[object_id]
        skipped, rest = track.beyond(frame, ranges[object_id], reverse)
        # masks that stayed though they were computed again say that those beyond would stay, too;
        # others say nothing of what a pass that was cancelled had left to be computed
        if computed:
            complete = all(track.get(each) is not None for each in skipped)
        else:
            complete = all(self.tracker.is_current(track, each, reverse) for each in skipped)
        if complete:
            ranges[object_id] = rest

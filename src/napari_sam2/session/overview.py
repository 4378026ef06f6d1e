"""What a session knows of each object over the frames of a stack, kept up to date."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psygnal import Signal

if TYPE_CHECKING:
    from napari_sam2.session.session import Session
    from napari_sam2.session.values import FrameChange, ObjectMask, StackKey, TrackedObject


@dataclass(frozen=True)
class ObjectSummary:
    """One object in one stack.

    Parameters
    ----------
    entry : TrackedObject
        The object.
    planes : int
        Frames that it was found on.
    certainty : float or None
        Its lowest score there, 0 to 1; None where it was found nowhere.
    frame : int or None
        Where that is.
    """

    entry: TrackedObject
    planes: int
    certainty: float | None
    frame: int | None


_Found = tuple[int, float | None, int | None]
_NOWHERE: _Found = (0, None, None)


class Overview:
    """An index of the masks of a session by object.

    Parameters
    ----------
    session : Session
        Whose masks.

    Attributes
    ----------
    changed : Signal()
        Emitted after objects, prompts or masks were changed.
    """

    changed = Signal()

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tracks: dict[tuple[StackKey, int], dict[int, ObjectMask]] = {}
        # planes, lowest score and where; only what is new or was lost costs anything
        self._found: dict[tuple[StackKey, int], _Found] = {}
        session.masks_changed.connect(self._on_masks_changed)
        session.object_changed.connect(lambda _: self.changed.emit())
        session.prompts_changed.connect(lambda *_: self.changed.emit())

    def scores(self, stack: StackKey, object_id: int) -> dict[int, float | None]:
        """Score of an object's mask on each frame that was worked on; None where it is absent."""
        track = self._tracks.get((stack, object_id), {})
        return {frame: mask.score if mask.present else None for frame, mask in track.items()}

    def prompted(self, stack: StackKey, object_id: int) -> frozenset[int]:
        """Frames on which an object has prompts."""
        return frozenset(
            frame for held, frame in self._session.table("prompts", stack) if held == object_id
        )

    def least_certain(self, stack: StackKey, object_id: int) -> tuple[int, ...]:
        """Frames with an object but no prompt of it, the one with the lowest score first.

        A prompt pays there most; where one was given, it was heard.
        """
        prompted = self.prompted(stack, object_id)
        scores = self.scores(stack, object_id).items()
        found = [(score, frame) for frame, score in scores if score is not None]
        return tuple(frame for _, frame in sorted(found) if frame not in prompted)

    def summaries(self, stack: StackKey | None) -> tuple[ObjectSummary, ...]:
        """Every object of the session, as it is in one stack; None where there is no image."""
        summaries = []
        for entry in self._session.objects:
            found = _NOWHERE if stack is None else self._find(stack, entry.object_id)
            summaries.append(ObjectSummary(entry, *found))
        return tuple(summaries)

    def _find(self, stack: StackKey, object_id: int) -> _Found:
        key = stack, object_id
        if key not in self._found:
            track = self._tracks.get(key, {})
            scores = [(mask.score, frame) for frame, mask in track.items() if mask.present]
            self._found[key] = (len(scores), *min(scores)) if scores else _NOWHERE
        return self._found[key]

    def _on_masks_changed(self, change: FrameChange) -> None:
        for object_id in {*change.before, *change.after}:
            earlier, mask = change.before.get(object_id), change.after.get(object_id)
            if earlier is mask:
                continue
            key = change.stack, object_id
            track, found = self._tracks.setdefault(key, {}), self._found.pop(key, None)
            if mask is None:
                track.pop(change.frame, None)
                continue
            track[change.frame] = mask
            if earlier is None and found is not None:
                self._found[key] = _with(found, mask, change.frame)
        self.changed.emit()


def _with(found: _Found, mask: ObjectMask, frame: int) -> _Found:
    planes, certainty, _ = found
    if not mask.present:
        return found
    if certainty is None or mask.score < certainty:
        return planes + 1, mask.score, frame
    return (planes + 1, *found[1:])

"""Which memories and pointers of an object a frame attends to.

The rules are those of the ``sam2`` package's video predictor, with every prompted frame
conditioning.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from itertools import count
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from torch import Tensor

    from napari_sam2.inference.large.large_prediction import LargePrediction
    from napari_sam2.inference.prompts import Prompt

    # the mask, its map, its pointer, and the logits of a look
    _Large = tuple[Tensor, Tensor | None, Tensor | None, Tensor | None]

_numbers = count()
_LEAST = 1e-3  # score of which there is a logarithm


@dataclass(frozen=True, eq=False)
class Look:
    """What a plane that was looked at by itself answered to an object's prompts.

    Attributes
    ----------
    answer : LargePrediction
        The first answer.
    shown : LargePrediction
        The same mask, looked at again.
    """

    answer: LargePrediction
    shown: LargePrediction


class FrameMemory:
    """What is known of one object on one frame.

    Parameters
    ----------
    logits : Tensor, shape (1, 4 h, 4 w)
        The mask.
    score : float
        Predicted IoU.
    present : bool
        Whether the object is on the frame.
    pointer : Tensor, shape (C,), optional
        The object pointer; without one it is that of the mask, made when a pass needs it.
    map : Tensor, shape (M, h, w), optional
        The spatial memory, made when a pass needs it.
    look : Look, optional
        What the mask comes from, where its plane was looked at by itself.

    Attributes
    ----------
    number : int
        No other has it.
    crop : MaskCrop or None
        The mask as it is shown, where it comes from a look.
    origin : bytes, optional
        Of a tracked frame: a digest of the memories and the pointers of its own pass that it
        attended to, each with its place in time. Of the same origin, it is not computed again.
    """

    # one for each object of thousands of frames
    __slots__ = ("__weakref__", "_large", "_look", "crop", "number", "origin", "present", "score")

    def __init__(
        self,
        logits: Tensor,
        score: float,
        present: bool,
        pointer: Tensor | None,
        map: Tensor | None = None,
        look: Look | None = None,
    ) -> None:
        looked = None
        self.crop = None if look is None else look.shown.best
        self._look = look
        if look is not None:
            answer, shown = look.answer, look.shown
            looked = torch.from_numpy(np.concatenate([answer.logits, shown.logits]))
            nothing = looked[:0].numpy()
            self._look = Look(replace(answer, logits=nothing), replace(shown, logits=nothing))
        self._large: _Large | str = (logits, map, pointer, looked)  # or the file they are in
        self.score, self.present = score, present
        self.number = next(_numbers)
        self.origin: bytes | None = None

    def __del__(self) -> None:
        self._remove_file()

    @property
    def logits(self) -> Tensor:
        """The mask, (1, 4 h, 4 w)."""
        return self._get()[0]

    @property
    def map(self) -> Tensor | None:
        """The spatial memory, (M, h, w); None until it is made."""
        return self._get()[1]

    @map.setter
    def map(self, made: Tensor) -> None:
        logits, _, pointer, looked = self._get()
        self._remove_file()
        self._large = (logits, made, pointer, looked)

    @property
    def pointer(self) -> Tensor | None:
        """The object pointer, (C,); None until it is made."""
        return self._get()[2]

    @pointer.setter
    def pointer(self, made: Tensor) -> None:
        logits, map, _, looked = self._get()
        self._remove_file()
        self._large = (logits, map, made, looked)

    @property
    def look(self) -> Look | None:
        """What the mask comes from, where its plane was looked at by itself."""
        looked = None if self._look is None else self._get()[3]
        if self._look is None or looked is None:
            return None
        answer, shown = looked.numpy()[:, None]
        return Look(
            replace(self._look.answer, logits=answer), replace(self._look.shown, logits=shown)
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the tensors in memory; none while they wait on disk."""
        if not isinstance(self._large, tuple):
            return 0
        return sum(tensor.nbytes for tensor in self._large if tensor is not None)

    def put_away(self, path: Path) -> None:
        """Keep the tensors in a file, which goes when this goes.

        Raises
        ------
        OSError
            When the file cannot be written.
        """
        if isinstance(self._large, tuple):
            # not by torch, whose errors of a full disk look like those of a GPU
            content = io.BytesIO()
            torch.save(self._large, content)
            path.write_bytes(content.getbuffer())
            self._large = str(path)

    def _remove_file(self) -> None:
        if isinstance(self._large, str):
            with suppress(OSError):  # the folder may have gone before
                os.unlink(self._large)

    def _get(self) -> _Large:
        if isinstance(self._large, tuple):
            return self._large
        found: _Large = torch.load(self._large, weights_only=True)
        return found


@dataclass(eq=False)
class Track:
    """One object: its prompts and what is known of it on every frame.

    What prompts gave since the last pass is shown, and refined by further prompts, but remembered
    from the next pass on only, as in the ``sam2`` package.
    """

    prompts: dict[int, tuple[Prompt, ...]] = field(default_factory=dict)
    pending: dict[int, FrameMemory] = field(default_factory=dict)  # prompted since the last pass
    conditioning: dict[int, FrameMemory] = field(default_factory=dict)  # prompted before it
    tracked: dict[int, FrameMemory] = field(default_factory=dict)  # the others
    # what may condition a prompted frame: the prompts' own mask, then the candidates, best first
    answers: dict[int, tuple[FrameMemory, ...]] = field(default_factory=dict)
    passed: dict[int, bool] = field(default_factory=dict)  # frame -> whether the pass was reversed

    def copy(self) -> Track:
        """A track of the same contents that can change by itself."""
        return Track(**{each.name: dict(getattr(self, each.name)) for each in fields(self)})

    def get(self, frame: int) -> FrameMemory | None:
        """What is known on a frame, prompted or tracked."""
        return self.pending.get(frame) or self.remembered(frame)

    def remembered(self, frame: int) -> FrameMemory | None:
        """What other frames can attend to."""
        return self.conditioning.get(frame) or self.tracked.get(frame)

    def certainty(self, frame: int) -> float:
        """How sure it is that a frame's mask is of what was prompted; 0 where a person said so.

        The logarithm of the product of the scores on the way from the nearest prompted frame. A
        score is an expected IoU: on each step the mask may go over to something else.
        """
        if frame in self.prompts:
            return 0.0
        nearest = min(self.prompts, key=lambda prompted: abs(prompted - frame))
        way = range(frame, nearest + 1) if frame < nearest else range(nearest, frame + 1)
        passed = [found.score for each in way if (found := self.get(each)) is not None]
        return sum(math.log(max(score, _LEAST)) for score in passed)

    def origin(self, seen: Attended, reverse: bool) -> bytes:
        """What a frame's mask is made from in a pass; see `FrameMemory`.

        What a pass the other way has found on the other side of a prompt does not count: two
        passes of which each sees the other's would change each other's masks without end.
        """

        def numbered(pairs: tuple[tuple[int, int], ...]) -> list[tuple[int, int]]:
            own = [
                (frame, place)
                for frame, place in pairs
                if frame in self.conditioning or self.passed.get(frame) == reverse
            ]
            found = ((self.remembered(frame), place) for frame, place in own)
            return [(memory.number, place) for memory, place in found if memory is not None]

        # a digest, as there may be hundreds of prompts, and each tracked frame keeps one
        numbers = str((numbered(seen.maps), numbered(seen.pointers)))
        return hashlib.blake2b(numbers.encode(), digest_size=16).digest()

    def remember(self) -> None:
        """Let what prompts gave condition the passes that follow."""
        for frame, found in self.pending.items():
            self.conditioning[frame] = found
            self.tracked.pop(frame, None)
        self.pending.clear()

    def beyond(self, frame: int, frames: range, reverse: bool) -> tuple[range, range]:
        """Those of these frames that lie further on, before the next prompted one and from it."""
        prompted = [known for known in self.conditioning if known in frames]
        if reverse:
            again = max((f for f in prompted if f < frame), default=frames.start - 1)
            return range(again + 1, frame), range(frames.start, again + 1)
        again = min((f for f in prompted if f > frame), default=frames.stop)
        return range(frame + 1, again), range(again, frames.stop)

    def forget(self, frames: range) -> None:
        """Drop what was found on some frames."""
        for frame in frames:
            if self.tracked.pop(frame, None) is not None:
                self.passed.pop(frame, None)


@dataclass(frozen=True)
class Attended:
    """What one frame attends to.

    Attributes
    ----------
    maps : tuple of (int, int)
        Frame of a memory, and index of its temporal encoding.
    pointers : tuple of (int, int)
        Frame of a pointer, and how many frames back it lies in the direction of travel.
    """

    maps: tuple[tuple[int, int], ...]
    pointers: tuple[tuple[int, int], ...]

    @property
    def lengths(self) -> tuple[int, int]:
        """Objects with equal lengths can be one batch."""
        return len(self.maps), len(self.pointers)


def attended(
    frame: int,
    conditioning: Collection[int],
    tracked: Collection[int],
    frames: int,
    reverse: bool,
    memories: int = 7,
    pointers: int = 16,
) -> Attended:
    """Choose memories and pointers for a frame.

    Parameters
    ----------
    frame : int
        The frame to be tracked.
    conditioning, tracked : collection of int
        Frames on which the object was prompted, and those it was tracked on.
    frames : int
        Length of the stack.
    reverse : bool
        Whether the pass runs towards frame 0.
    memories, pointers : int
        As in the model's configuration.

    Returns
    -------
    Attended
        Every conditioning frame (the future ones too) with the last temporal index, the
        ``memories - 1`` preceding frames with their distance less one; pointers of past
        conditioning frames at any distance and of the ``pointers - 1`` preceding frames.
    """
    step = 1 if reverse else -1  # towards the past
    maps = [(known, memories - 1) for known in sorted(conditioning)]
    for back in range(memories - 1, 0, -1):
        if frame + step * back in tracked:
            maps.append((frame + step * back, back - 1))

    def back_of(known: int) -> int:
        return (known - frame) * step

    chosen = [(known, back_of(known)) for known in sorted(conditioning) if back_of(known) >= 0]
    for back in range(1, min(frames, pointers)):
        if frame + step * back in tracked:
            chosen.append((frame + step * back, back))
    return Attended(tuple(maps), tuple(chosen))

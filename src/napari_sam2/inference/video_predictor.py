"""Carry objects through a stack with memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from napari_sam2.inference.encode import encode_plane, mask_tensor, point_tensors
from napari_sam2.inference.features import FeatureCache
from napari_sam2.inference.frames import FrameSource
from napari_sam2.inference.image_predictor import LOGIT_LIMIT
from napari_sam2.inference.masks import crop_of
from napari_sam2.inference.memory_bank import Attended, FrameMemory, Track, attended
from napari_sam2.inference.passes import plan_passes
from napari_sam2.inference.prompts import MaskPrompt, check_prompts
from napari_sam2.inference.results import FrameResult
from napari_sam2.inference.transforms import contrast_limits_of, to_plane_logits
from napari_sam2.model.sam2 import Memories

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from napari_sam2.inference.frames import ArrayLike
    from napari_sam2.inference.load import Model
    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.model.neck import ImageFeatures
    from napari_sam2.model.sam2 import Tracked

Direction = Literal["forward", "backward", "both"]

OBJECT_BATCH = 16  # objects tracked at a time


class VideoPredictor:
    """Segments objects on frames and carries them to other frames.

    Parameters
    ----------
    model : Model
        From `load_model`.
    stack : array-like, shape (T, Y, X) or (T, Y, X, 3), or FrameSource
        Anything with shape, dtype and indexing; read one plane at a time.
    contrast_limits : tuple of float, optional
        (low, high), mapped to black and white on every frame. By default 0 to 255 for uint8, else
        the 0.1 and 99.9 percentiles of the first plane asked for.

    Raises
    ------
    TypeError, ValueError
        When the stack has another shape or no real numbers.
    """

    def __init__(
        self,
        model: Model,
        stack: ArrayLike | FrameSource,
        contrast_limits: tuple[float, float] | None = None,
    ) -> None:
        self.model = model
        self.source = stack if isinstance(stack, FrameSource) else FrameSource(stack)
        self.contrast_limits = contrast_limits
        self.features = FeatureCache(self._encode)
        self._tracks: dict[int, Track] = {}

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects known, in the order they were prompted first."""
        return tuple(self._tracks)

    def add_prompts(self, object_id: int, frame: int, prompts: Sequence[Prompt]) -> FrameResult:
        """Segment an object on a frame; the frame conditions every later propagation.

        Parameters
        ----------
        object_id : int
            Larger than 0; it becomes the label.
        frame : int
            Index along the frame axis.
        prompts : sequence of Prompt
            All prompts of the object on this frame: they replace earlier ones there. Where they
            only add to the earlier ones, or correct a mask that was propagated, the mask so far
            is refined.

        Returns
        -------
        FrameResult
            Every object known on this frame.

        Raises
        ------
        ValueError
            When the prompts are empty, outside the plane or contradict each other, or the object's
            number is not positive.
        IndexError
            When there is no such frame.
        """
        if object_id < 1:
            raise ValueError(f"object_id is {object_id}, but labels start at 1; 0 is background.")
        self._check_frame(frame)
        checked = check_prompts(prompts, self.source.plane_shape)
        features = self.features[frame]
        known = self._tracks.get(object_id, Track())
        with torch.inference_mode(), self.model.precision():
            answer = self._answer(known, frame, checked, features)
        known.prompts[frame] = checked
        known.conditioning[frame] = answer
        known.tracked.pop(frame, None)
        self._tracks[object_id] = known
        return self.result(frame)

    def remove_prompts(self, object_id: int, frame: int) -> None:
        """Take back an object's prompts on a frame; without any left the object is forgotten.

        Raises
        ------
        KeyError
            When the object has no prompts there.
        """
        track = self._tracks.get(object_id)
        if track is None or frame not in track.prompts:
            raise KeyError(f"Object {object_id} has no prompts on frame {frame}.")
        del track.prompts[frame]
        answer = track.conditioning.pop(frame)
        if not track.prompts:
            del self._tracks[object_id]
        elif track.passed.pop(frame, None) is not None:
            # part of a track: it stays until the next pass, but conditions nothing
            track.tracked[frame] = answer

    def remove_object(self, object_id: int) -> None:
        """Forget an object, its prompts and its masks.

        Raises
        ------
        KeyError
            When there is no such object.
        """
        if object_id not in self._tracks:
            raise KeyError(f"There is no object {object_id}. Known are {self.object_ids}.")
        del self._tracks[object_id]

    def propagate(
        self,
        direction: Direction = "both",
        start: int | None = None,
        stop: int | None = None,
        stop_when_absent: int | None = None,
    ) -> Iterator[FrameResult]:
        """Carry the objects to other frames.

        Parameters
        ----------
        direction : {"forward", "backward", "both"}
            Towards the last frame, towards the first, or one pass of each.
        start, stop : int, optional
            Where a single direction starts, and the last frame it reaches: every object runs over
            this whole range. Without a start each object runs outward from its own prompts. In
            both directions they are the first and the last frame of the range in which each
            object runs outward from its own prompts.
        stop_when_absent : int, optional
            An object that was absent on so many frames in a row is not looked for any further in
            that direction, and what an earlier pass had found there is dropped.

        Returns
        -------
        iterator of FrameResult
            One a frame, as soon as it is done, with every object known on it. Stop iterating to
            cancel; what was yielded stays.

        Raises
        ------
        ValueError
            When nothing was prompted, or the range is not within the stack. Before work starts.
        """
        if not self._tracks:
            raise ValueError("There is no prompt yet. Add a point, a box or a mask first.")
        for frame in (start, stop):
            if frame is not None:
                self._check_frame(frame)
        if stop_when_absent is not None and stop_when_absent < 1:
            raise ValueError(f"stop_when_absent is {stop_when_absent}, but must be 1 or more.")
        prompted = {object_id: sorted(track.prompts) for object_id, track in self._tracks.items()}
        passes = plan_passes(prompted, direction, start, stop, len(self.source))
        return self._run(passes, stop_when_absent)

    def result(self, frame: int) -> FrameResult:
        """What is known on a frame, without computing anything new."""
        known = [
            (object_id, found)
            for object_id, track in self._tracks.items()
            if (found := track.get(frame)) is not None
        ]
        shape = self.source.plane_shape
        return FrameResult(
            frame=frame,
            shape=shape,
            object_ids=tuple(object_id for object_id, _ in known),
            crops=tuple(
                crop_of(to_plane_logits(found.logits[None], shape)[0, 0].cpu().numpy())
                for _, found in known
            ),
            scores=np.array([found.score for _, found in known], dtype=np.float32),
            present=np.array([found.present for _, found in known], dtype=bool),
        )

    def _check_frame(self, frame: int) -> None:
        if not 0 <= frame < len(self.source):
            raise IndexError(
                f"There is no frame {frame}: the stack has {len(self.source)}, from 0."
            )

    def _encode(self, frame: int) -> ImageFeatures:
        plane = self.source.plane(frame)
        if self.contrast_limits is None:
            self.contrast_limits = contrast_limits_of(plane)
        return encode_plane(self.model, plane, self.contrast_limits)

    def _answer(
        self, track: Track, frame: int, prompts: tuple[Prompt, ...], features: ImageFeatures
    ) -> FrameMemory:
        network = self.model.network
        mask = mask_tensor(self.model, prompts)
        if mask is not None:
            return _split(network.track_mask(features, mask))[0]
        reverse = track.passed.get(frame)
        if reverse is None:
            embedding = network.without_memory(features)
        else:
            seen = self._attended(track, frame, reverse)
            embedding = network.with_memory(features, self._memories([track], [seen]))
        points, labels = point_tensors(self.model, prompts, self.source.plane_shape)
        before = self._mask_to_refine(track, frame, prompts)
        return _split(network.track(embedding, features, points, labels, before))[0]

    def _mask_to_refine(
        self, track: Track, frame: int, prompts: tuple[Prompt, ...]
    ) -> Tensor | None:
        known = track.get(frame)
        earlier = track.prompts.get(frame, ())
        if known is None or any(isinstance(prompt, MaskPrompt) for prompt in earlier):
            return None
        # a prompt that was taken away or moved must leave no trace in the mask
        if any(prompt not in prompts for prompt in earlier):
            return None
        return known.logits[None].float().clamp(-LOGIT_LIMIT, LOGIT_LIMIT)

    def _run(
        self, passes: list[tuple[bool, dict[int, range]]], stop_when_absent: int | None
    ) -> Iterator[FrameResult]:
        for reverse, ranges in passes:
            absent = dict.fromkeys(ranges, 0)
            frames = sorted({f for frames in ranges.values() for f in frames}, reverse=reverse)
            for frame in frames:
                active = [
                    object_id
                    for object_id, frames in ranges.items()
                    if object_id in self._tracks and frame in frames
                ]
                if not active:
                    continue
                self._track_frame(frame, [self._tracks[i] for i in active], reverse)
                yield self.result(frame)
                for object_id in active:
                    known = (
                        self._tracks[object_id].get(frame) if object_id in self._tracks else None
                    )
                    if known is None:
                        continue
                    absent[object_id] = 0 if known.present else absent[object_id] + 1
                    if absent[object_id] == stop_when_absent:
                        self._forget_beyond(self._tracks[object_id], frame, reverse)
                        del ranges[object_id]

    @staticmethod
    def _forget_beyond(track: Track, frame: int, reverse: bool) -> None:
        for known in list(track.tracked):
            if known < frame if reverse else known > frame:
                del track.tracked[known]
                track.passed.pop(known, None)

    def _track_frame(self, frame: int, tracks: list[Track], reverse: bool) -> None:
        """Track objects on one frame, those that attend to equally much as one batch."""
        groups: dict[tuple[int, int], list[tuple[Track, Attended]]] = {}
        for track in tracks:
            track.passed[frame] = reverse
            if frame not in track.conditioning:
                seen = self._attended(track, frame, reverse)
                groups.setdefault(seen.lengths, []).append((track, seen))
        if not groups:
            return
        features = self.features[frame]
        network = self.model.network
        with torch.inference_mode(), self.model.precision():
            for group in groups.values():
                for first in range(0, len(group), OBJECT_BATCH):
                    batch = group[first : first + OBJECT_BATCH]
                    batch_tracks = [track for track, _ in batch]
                    memories = self._memories(batch_tracks, [seen for _, seen in batch])
                    embedding = network.with_memory(features, memories)
                    tracked = network.track(embedding, features)
                    maps = network.encode_memory(
                        features, tracked.logits, tracked.present, prompted=False
                    )
                    for track, found, memory in zip(
                        batch_tracks, _split(tracked), maps, strict=True
                    ):
                        found.map = memory
                        track.tracked[frame] = found

    def _attended(self, track: Track, frame: int, reverse: bool) -> Attended:
        config = self.model.config
        return attended(
            frame,
            track.conditioning.keys(),
            track.tracked.keys(),
            len(self.source),
            reverse,
            config.memories,
            config.pointers,
        )

    def _memories(self, tracks: list[Track], seen: list[Attended]) -> Memories:
        def known(track: Track, frame: int) -> FrameMemory:
            found = track.get(frame)
            assert found is not None
            return found

        pairs = list(zip(tracks, seen, strict=True))
        longest = max(min(len(self.source), self.model.config.pointers) - 1, 1)
        device = self.model.device
        offsets = [[back for _, back in attention.pointers] for attention in seen]
        times = [[time for _, time in attention.maps] for attention in seen]
        return Memories(
            maps=torch.stack(
                [
                    torch.stack([self._map(known(t, frame), frame) for frame, _ in a.maps])
                    for t, a in pairs
                ]
            ),
            map_times=torch.tensor(times, device=device),
            pointers=torch.stack(
                [self._pointers([known(t, frame) for frame, _ in a.pointers]) for t, a in pairs]
            ),
            pointer_offsets=torch.tensor(offsets, device=device, dtype=torch.float32) / longest,
        )

    def _pointers(self, found: list[FrameMemory]) -> Tensor:
        if not found:  # prompted in the future only
            return torch.zeros(0, self.model.config.width, device=self.model.device)
        return torch.stack([memory.pointer for memory in found])

    def _map(self, found: FrameMemory, frame: int) -> Tensor:
        if found.map is None:
            present = torch.tensor([found.present], device=self.model.device)
            found.map = self.model.network.encode_memory(
                self.features[frame], found.logits[None], present, prompted=True
            )[0]
        return found.map


def _split(tracked: Tracked) -> list[FrameMemory]:
    """One entry an object."""
    return [
        FrameMemory(
            logits=tracked.logits[index].float(),
            score=float(tracked.scores[index]),
            present=bool(tracked.present[index]),
            pointer=tracked.pointers[index],
        )
        for index in range(len(tracked.logits))
    ]

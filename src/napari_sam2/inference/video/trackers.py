"""How an object gets its mask on a frame: from prompts, or from what is known of other frames."""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, TypeVar

import torch

from napari_sam2.inference.device import is_out_of_memory
from napari_sam2.inference.encode import mask_tensor, point_tensors, previous_logits
from napari_sam2.inference.prompts import are_given, expand_prompts, refines
from napari_sam2.inference.small_models import is_small
from napari_sam2.inference.stray import freed_answer
from napari_sam2.inference.video import answers
from napari_sam2.inference.video.memory_bank import Attended, FrameMemory, attended
from napari_sam2.inference.video.recall import recall
from napari_sam2.model.neck import ImageFeatures
from napari_sam2.model.prompt_encoder import BOX_MAX, BOX_MIN
from napari_sam2.model.sam2 import ABSENT_LOGIT, Memories, Sam2, Tracked

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from napari_sam2.inference.features import FeatureCache
    from napari_sam2.inference.frames import FrameSource
    from napari_sam2.inference.load import Model
    from napari_sam2.inference.prompts import Prompt
    from napari_sam2.inference.video.looks import Looks
    from napari_sam2.inference.video.memory_bank import Track
    from napari_sam2.inference.video.spill import MemoryBudget

Item = TypeVar("Item")

OBJECT_BATCH = 16  # objects tracked at a time, at most
# The same on a CPU: more are slower, as what lies between two layers leaves its caches.
CPU_BATCH = 4
BATCH_BYTES = 2**29  # of the keys and values that a batch on a CPU attends to


class Tracker(ABC):
    """Segments the objects of one stack frame by frame.

    Parameters
    ----------
    model : Model
        From `load_model`.
    source : FrameSource
        The stack.
    features : FeatureCache
        Its encoded frames.
    memories : MemoryBudget
        How many memories are held; the others wait on disk.
    largest_hole : int
        Holes of a mask up to so many cells are filled.
    looks : Looks, optional
        Answer to prompts where nothing is remembered.
    """

    def __init__(
        self,
        model: Model,
        source: FrameSource,
        features: FeatureCache,
        memories: MemoryBudget,
        largest_hole: int = 0,
        looks: Looks | None = None,
    ) -> None:
        self.model, self.source, self.features = model, source, features
        self.largest_hole = largest_hole
        self.looks = looks
        self.memories = memories
        self._frees = is_small(model)
        self._told_of_memory = False
        self.batch = OBJECT_BATCH

    def answers(
        self, track: Track, frame: int, prompts: tuple[Prompt, ...]
    ) -> tuple[FrameMemory, ...]:
        """The mask of an object's prompts on a frame and, where known by now, the candidates."""
        found: list[FrameMemory] = []
        if self.looks is not None and self._starts(track, frame, prompts):
            known, looks = track.get(frame), self.looks
            refined = known if refines(prompts, track.prompts.get(frame, ())) else None
            before = refined.look if refined else None
            self._in_batches([track], lambda _: found.append(looks.answer(frame, prompts, before)))
        else:
            with torch.inference_mode(), self.model.precision():
                self._in_batches(
                    [track], lambda _: found.extend(self._answers(track, frame, prompts))
                )
        for memory in reversed(found):
            self.memories.note(memory)
        return tuple(found)

    def candidates(self, track: Track, frame: int) -> tuple[FrameMemory, ...]:
        """What the prompts of an object on a frame may mean, as `VideoPredictor.candidates` says.

        Raises
        ------
        ValueError
            When the mask was given, so that there are none.
        """
        own, *found = track.answers[frame]
        look = own.look
        if self.looks is not None and look is not None:
            return self.looks.candidates(frame, track.prompts[frame], look)
        if not found:
            raise ValueError(
                f"The mask on frame {frame} was given, so there is no candidate beside it. "
                "Add a point or a box to it first."
            )
        return tuple(found)

    def follow(self, frame: int, tracks: list[Track], reverse: bool) -> None:
        """Carry objects to a frame in a pass, all but those prompted there."""
        for track in tracks:
            track.passed[frame] = reverse
        tracks = [track for track in tracks if frame not in track.conditioning]
        if tracks:
            with torch.inference_mode(), self.model.precision():
                self._follow(frame, tracks, reverse)
            for track in tracks:
                self.memories.note(track.tracked[frame])

    def is_current(self, track: Track, frame: int, reverse: bool) -> bool:
        """Whether a pass would find on a frame what is known there already."""
        return track.get(frame) is not None

    def _starts(self, track: Track, frame: int, prompts: tuple[Prompt, ...]) -> bool:
        """Whether prompts ask for a mask, not for another one of what was carried to the frame."""
        if are_given(prompts):
            return False
        known = track.get(frame)
        carried = frame in track.passed or frame in track.tracked
        return known is None or known.crop is not None or not carried

    def _answers(
        self, track: Track, frame: int, prompts: tuple[Prompt, ...]
    ) -> tuple[FrameMemory, ...]:
        network, features = self.model.network, self.features[frame]
        shape = self.source.plane_shape
        expanded = expand_prompts(prompts, shape)
        points, labels = point_tensors(self.model, expanded, shape)
        mask = mask_tensor(self.model, expanded, shape)
        if points is None:
            assert mask is not None
            return tuple(answers.split(network.track_mask(features, mask), 0))
        before = (
            network.mask_logits(mask) if mask is not None else self._refined(track, frame, prompts)
        )
        embedding = self._embedding(track, frame)
        decoded = network.decode(embedding, features, points, labels, before)
        decoded = freed_answer(self.model, decoded, expanded, shape, before)
        # one click may mean several things, but not inside a mask
        own = network.settle(decoded, ambiguous=mask is None and points.shape[1] <= 1)
        # with specks, as what is clicked on may be as small as one
        asked = answers.split(own, self.largest_hole)
        return *asked, *answers.decoded_candidates(network, decoded)

    def _in_batches(
        self, items: list[Item], work: Callable[[list[Item]], None], most: int = OBJECT_BATCH
    ) -> None:
        """Work through items in batches; smaller ones where the memory does not suffice."""
        first = 0
        while first < len(items):
            batch = items[first : first + min(self.batch, most)]
            try:
                work(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or not self._make_room(len(batch)):
                    raise
            else:
                first += len(batch)

    def _make_room(self, batch: int) -> bool:
        """Need less memory from now on; False where that cannot be."""
        if batch == 1 and not self.features.shrink():
            return False
        if batch > 1:
            self.batch = batch // 2
            self.features.shrink()
        self.memories.shrink()
        if self.looks is not None:
            self.looks.forget()
        self.model.graphs.clear()
        if not self._told_of_memory:
            self._told_of_memory = True
            warnings.warn(
                "The memory does not suffice, so fewer objects are tracked at a time and fewer "
                "planes kept, which is slower. Close other programs, or take a "
                "smaller model.",
                stacklevel=2,
            )
        return True

    def _split(self, tracked: Tracked) -> list[FrameMemory]:
        return answers.split(tracked, self.largest_hole, self._frees)

    def _refined(self, track: Track, frame: int, prompts: tuple[Prompt, ...]) -> Tensor | None:
        """The logits that prompts refine, where there are any."""
        known = track.get(frame)
        earlier = track.prompts.get(frame, ())
        if known is None or not refines(prompts, earlier):
            return None
        return previous_logits(self.model, known.logits[None])

    def _embedding(self, track: Track, frame: int) -> Tensor:
        return self.model.network.without_memory(self.features[frame])

    @abstractmethod
    def _follow(self, frame: int, tracks: list[Track], reverse: bool) -> None:
        """Carry objects that are not prompted on a frame to it."""


class MemoryTracker(Tracker):
    """SAM 2: a frame attends to what is remembered of others."""

    def _embedding(self, track: Track, frame: int) -> Tensor:
        reverse = track.passed.get(frame)
        seen = None if reverse is None else self._attended(track, frame, reverse)
        # where what it would attend to was taken back, a frame starts anew
        if seen is None or not seen.maps:
            return super()._embedding(track, frame)
        return self._network.with_memory(self.features[frame], self._recall([track], [seen]))

    def is_current(self, track: Track, frame: int, reverse: bool) -> bool:
        """Whether a frame attends to the same as when its mask was made."""
        if frame in track.conditioning:
            return True
        known = track.tracked.get(frame)
        seen = self._attended(track, frame, reverse)
        return known is not None and known.origin == track.origin(seen, reverse)

    def _follow(self, frame: int, tracks: list[Track], reverse: bool) -> None:
        # objects that attend to equally much are one batch
        groups: dict[tuple[int, int], list[tuple[Track, Attended]]] = {}
        for track in tracks:
            # a correction changes what depends on it; all else would come out as it did before
            if not self.is_current(track, frame, reverse):
                seen = self._attended(track, frame, reverse)
                groups.setdefault(seen.lengths, []).append((track, seen))
        for (maps, _), group in groups.items():
            self._in_batches(
                group, lambda batch: self._follow_batch(frame, batch, reverse), self._most(maps)
            )

    def _follow_batch(self, frame: int, batch: list[tuple[Track, Attended]], reverse: bool) -> None:
        network, features = self._network, self.features[frame]
        tracks = [track for track, _ in batch]
        memories = self._recall(tracks, [seen for _, seen in batch])

        def follow(*tensors: Tensor) -> tuple[Tensor, ...]:
            tracked, maps = network.follow(ImageFeatures(*tensors[:3]), Memories(*tensors[3:]))
            return *vars(tracked).values(), maps

        *found, maps = self.model.graphs(
            "follow", follow, *vars(features).values(), *vars(memories).values()
        )
        # copies: a part of the batch would keep the whole of it; before the GPU is waited for
        made = [each.clone() for each in maps]
        for (track, seen), memory, own in zip(
            batch, self._split(Tracked(*found)), made, strict=True
        ):
            memory.map = own
            memory.origin = track.origin(seen, reverse)
            track.tracked[frame] = memory

    def _most(self, maps: int) -> int:
        """How many objects are a batch, of which each attends to so many maps."""
        if self.model.device.type != "cpu":
            return OBJECT_BATCH
        config = self._network.config
        tokens = maps * (config.image_size // 16) ** 2  # many where there are many prompts
        return max(1, min(CPU_BATCH, BATCH_BYTES // (3 * 4 * tokens * config.width)))

    @property
    def _network(self) -> Sam2:
        network = self.model.network
        assert isinstance(network, Sam2)
        return network

    def _attended(self, track: Track, frame: int, reverse: bool) -> Attended:
        config = self._network.config
        return attended(
            frame,
            track.conditioning.keys(),
            track.tracked.keys(),
            len(self.source),
            reverse,
            config.memories,
            config.pointers,
        )

    def _recall(self, tracks: list[Track], seen: list[Attended]) -> Memories:
        return recall(self._network, self.features, self.memories, len(self.source), tracks, seen)


class MaskTracker(Tracker):
    """SAM 1, which has no memory: the mask on one frame, and its box, prompt the next."""

    def _follow(self, frame: int, tracks: list[Track], reverse: bool) -> None:
        features = self.features[frame]
        carried: list[tuple[Track, FrameMemory]] = []
        for track in tracks:
            known = track.get(frame + 1 if reverse else frame - 1)
            if known is not None and known.present and (known.logits > 0).any():
                carried.append((track, known))
            elif known is not None or frame not in track.tracked:
                # nothing to go by: once lost, an object is not found again
                track.tracked[frame] = _absent(features.embedding)
        self._in_batches(carried, lambda batch: self._carry(frame, batch))

    def _carry(self, frame: int, batch: list[tuple[Track, FrameMemory]]) -> None:
        network, features = self.model.network, self.features[frame]
        logits = torch.stack([known.logits for _, known in batch])
        corners = torch.stack([_corners(known.logits[0]) for _, known in batch])
        labels = torch.tensor([[BOX_MIN, BOX_MAX]], device=corners.device)
        decoded = network.decode(
            network.without_memory(features),
            features,
            corners,
            labels.expand(len(batch), -1),
            previous_logits(self.model, logits),
        )
        found = self._split(network.settle(decoded, ambiguous=False))
        for (track, known), memory in zip(batch, found, strict=True):
            # a mask elsewhere is not this object
            kept = bool(((memory.logits > 0) & (known.logits > 0)).any())
            track.tracked[frame] = memory if kept else _absent(features.embedding)


def _corners(logits: Tensor) -> Tensor:
    """Corners (2, 2) of the box around a mask (h, w), x before y, in model pixels."""
    rows, columns = torch.nonzero(logits > 0, as_tuple=True)
    # a cell of the mask is four pixels wide
    low = torch.stack([columns.min(), rows.min()]) * 4
    high = torch.stack([columns.max(), rows.max()]) * 4 + 4
    return torch.stack([low, high]).float()


def _absent(embedding: Tensor) -> FrameMemory:
    height, width = embedding.shape[-2:]
    logits = embedding.new_full((1, 4 * height, 4 * width), ABSENT_LOGIT, dtype=torch.float32)
    return FrameMemory(logits, score=0.0, present=False, pointer=embedding.new_empty(0))


def tracker_for(
    model: Model,
    source: FrameSource,
    features: FeatureCache,
    memories: MemoryBudget,
    largest_hole: int,
    looks: Looks | None,
) -> Tracker:
    """The tracker for a model: with memory, or from mask to mask."""
    kind = MemoryTracker if model.has_memory else MaskTracker
    return kind(model, source, features, memories, largest_hole, looks)

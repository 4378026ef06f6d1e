"""What a batch of objects remembers, gathered into tensors."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from napari_sam2.inference.device import to_device
from napari_sam2.model.sam2 import Memories

if TYPE_CHECKING:
    from torch import Tensor

    from napari_sam2.inference.features import FeatureCache
    from napari_sam2.inference.video.memory_bank import Attended, FrameMemory, Track
    from napari_sam2.inference.video.spill import MemoryBudget
    from napari_sam2.model.sam2 import Sam2


def recall(
    network: Sam2,
    features: FeatureCache,
    memories: MemoryBudget,
    frames: int,
    tracks: list[Track],
    seen: list[Attended],
) -> Memories:
    """Gather the memories that objects attend to.

    Parameters
    ----------
    network : Sam2
        Makes the memories of prompted frames, and pointers that are missing, only now.
    features : FeatureCache
        Of the stack.
    memories : MemoryBudget
        Counts them as used.
    frames : int
        Length of the stack.
    tracks : list of Track
        The objects.
    seen : list of Attended
        What each attends to, all of the same lengths.

    Returns
    -------
    Memories
        Keys and values of the memory attention.
    """

    def known(track: Track, frame: int) -> FrameMemory:
        found = track.remembered(frame)
        assert found is not None
        return found

    def spatial(track: Track, frame: int) -> Tensor:
        found = known(track, frame)
        made = _map(network, features, found, frame)
        memories.note(found)
        return made

    def pointer(track: Track, frame: int) -> Tensor:
        found = known(track, frame)
        made = _pointer(network, features, found, frame)
        memories.note(found)
        return made

    device = network.no_memory_embedding.device
    pairs = list(zip(tracks, seen, strict=True))
    longest = max(min(frames, network.config.pointers) - 1, 1)
    offsets = tuple(tuple(back for _, back in attention.pointers) for attention in seen)
    times = tuple(tuple(time for _, time in attention.maps) for attention in seen)
    maps = [spatial(track, frame) for track, a in pairs for frame, _ in a.maps]
    pointers = [pointer(track, frame) for track, a in pairs for frame, _ in a.pointers]
    return Memories(
        maps=torch.stack(maps).unflatten(0, (len(tracks), -1)),
        map_times=_numbers(times, torch.int64, device),
        pointers=_stacked(network, pointers).unflatten(0, (len(tracks), len(offsets[0]))),
        pointer_offsets=_numbers(offsets, torch.float32, device) / longest,
    )


# mostly those of the frame before; bringing numbers to a GPU takes as long as a few layers
@lru_cache(maxsize=32)
def _numbers(rows: tuple[tuple[int, ...], ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return to_device(torch.tensor(rows, dtype=dtype), device)


def _stacked(network: Sam2, pointers: list[Tensor]) -> Tensor:
    if not pointers:  # prompted in the future only
        return network.no_object_pointer.new_zeros(0, network.config.width)
    return torch.stack(pointers)


def _map(network: Sam2, features: FeatureCache, found: FrameMemory, frame: int) -> Tensor:
    kept = found.map
    if kept is None:
        logits = found.logits[None]
        present = torch.tensor([found.present], device=logits.device)
        kept = network.encode_memory(features[frame], logits, present, prompted=True)[0]
        found.map = kept
    return kept


def _pointer(network: Sam2, features: FeatureCache, found: FrameMemory, frame: int) -> Tensor:
    kept = found.pointer
    if kept is None:
        whole = F.interpolate(found.logits[None], scale_factor=4, mode="bilinear")
        mask = (whole > 0).float()
        kept = found.pointer = network.track_mask(features[frame], mask).pointers[0]
    return kept

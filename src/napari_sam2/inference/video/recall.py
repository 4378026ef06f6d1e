"""What a batch of objects remembers, gathered into tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

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
        Encodes the memories of prompted frames, which are made only now.
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

    device = network.no_memory_embedding.device
    pairs = list(zip(tracks, seen, strict=True))
    longest = max(min(frames, network.config.pointers) - 1, 1)
    offsets = [[back for _, back in attention.pointers] for attention in seen]
    times = [[time for _, time in attention.maps] for attention in seen]
    return Memories(
        maps=torch.stack(
            [torch.stack([spatial(track, frame) for frame, _ in a.maps]) for track, a in pairs]
        ),
        map_times=torch.tensor(times, device=device),
        pointers=torch.stack(
            [_pointers(network, [known(t, frame) for frame, _ in a.pointers]) for t, a in pairs]
        ),
        pointer_offsets=torch.tensor(offsets, device=device, dtype=torch.float32) / longest,
    )


def _pointers(network: Sam2, found: list[FrameMemory]) -> Tensor:
    if not found:  # prompted in the future only
        return network.no_object_pointer.new_zeros(0, network.config.width)
    return torch.stack([memory.pointer for memory in found])


def _map(network: Sam2, features: FeatureCache, found: FrameMemory, frame: int) -> Tensor:
    kept = found.map
    if kept is None:
        logits = found.logits[None]
        present = torch.tensor([found.present], device=logits.device)
        kept = network.encode_memory(features[frame], logits, present, prompted=True)[0]
        found.map = kept
    return kept

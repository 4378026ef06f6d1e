"""Memories beyond the budget: on disk, equal, and gone with what they belong to."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_sam2 import PointPrompt, VideoPredictor
from napari_sam2.inference.video.memory_bank import FrameMemory
from napari_sam2.inference.video.spill import MemoryBudget


def memory(value):
    return FrameMemory(
        torch.full((1, 8, 8), float(value)),
        0.5,
        True,
        torch.full((4,), value),
        torch.full((2, 2, 2), value),
    )


def waiting(memories):
    return [isinstance(each._large, str) for each in memories]


def test_the_oldest_go_to_disk_and_come_back():
    budget = MemoryBudget(budget=2 * memory(0).nbytes)
    memories = [memory(value) for value in range(5)]
    for each in memories:
        budget.note(each)
    assert waiting(memories) == [True] * 3 + [False] * 2
    assert budget.held == 2 * memory(0).nbytes
    folder = Path(budget._folder.name)
    assert len(list(folder.iterdir())) == 3
    for value, each in enumerate(memories):
        assert (each.logits == value).all()
        assert (each.map == value).all()
        assert (each.pointer == value).all()
    del memories[:2], each
    gc.collect()
    assert len(list(folder.iterdir())) == 1
    del memories[:]
    gc.collect()
    assert budget.held == 0
    assert list(folder.iterdir()) == []


def test_a_memory_that_is_used_again_counts_once_and_stays():
    budget = MemoryBudget(budget=2 * memory(0).nbytes)
    memories = [memory(value) for value in range(3)]
    for each in (memories[0], memories[1], memories[0]):
        budget.note(each)
    assert budget.held == 2 * memory(0).nbytes
    budget.note(memories[2])
    assert waiting(memories) == [False, True, False]
    budget.note(memories[1])  # it waits on disk still
    assert budget.held == 2 * memory(0).nbytes
    assert waiting(memories) == [False, True, False]
    del memories[0], each
    gc.collect()
    assert budget.held == memory(0).nbytes


def test_a_map_made_later_is_counted():
    budget = MemoryBudget(budget=2**20)
    prompted = FrameMemory(torch.zeros(1, 8, 8), 0.5, True, torch.ones(4))
    budget.note(prompted)
    prompted.map = torch.zeros(2, 2, 2)
    budget.note(prompted)
    assert budget.held == 4 * (8 * 8 + 2 * 2 * 2 + 4)


def test_passes_that_compute_nothing_neither_hold_more_nor_read_more(
    tiny_model, discs, monkeypatch
):
    video = VideoPredictor(tiny_model, discs[0])
    budget = video._tracker.memories
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    list(video.propagate("forward"))
    held = budget.held
    for _ in range(3):
        list(video.propagate("forward"))
    assert budget.held == held
    budget.budget = 1
    budget.note(video._tracks[1].tracked[7])
    read = []
    load = torch.load
    monkeypatch.setattr(torch, "load", lambda path, **kw: read.append(path) or load(path, **kw))
    list(video.propagate("forward"))
    assert len(read) == len(set(read))  # each once, for the mask that is shown


def test_what_prompts_gave_waits_on_disk_too(tiny_model, discs):
    video = VideoPredictor(tiny_model, discs[0], memory_budget=0)

    def files():
        return set(Path(video._tracker.memories._folder.name).iterdir())

    def assert_only_one_is_held():
        track = video._tracks[1]
        known = {*track.tracked.values(), *(each for a in track.answers.values() for each in a)}
        paths = [Path(each._large) for each in known if isinstance(each._large, str)]
        assert len(paths) == len(known) - 1
        assert set(paths) == files()

    for frame in range(4):
        video.add_prompts(1, frame, [PointPrompt((30 + frame, 30))])
    assert_only_one_is_held()
    # a mask each, not the four that were decoded together
    assert all(path.stat().st_size < 4 * 16 * 16 * 4 for path in files())
    assert video.candidates(1, 2).masks.any()
    list(video.propagate("forward"))
    # with their maps, which a pass has made
    assert all(memory.map is not None for memory in video._tracks[1].conditioning.values())
    assert_only_one_is_held()


def test_what_a_mask_was_made_from_takes_up_little(tiny_model, discs):
    video = VideoPredictor(tiny_model, discs[0])
    for frame in range(7):
        video.add_prompts(1, frame, [PointPrompt((30 + frame, 30))])
    list(video.propagate("forward"))
    assert len(video._tracks[1].tracked[7].origin) == 16


def test_a_full_disk_is_told_once_and_tried_again_later(monkeypatch):
    budget = MemoryBudget(budget=1)
    memories = [memory(value) for value in range(5)]
    now, free, tries = [1000.0], [0], []

    def usage(folder):
        tries.append(folder)
        return SimpleNamespace(free=free[0])

    monkeypatch.setattr("napari_sam2.inference.video.spill.shutil.disk_usage", usage)
    monkeypatch.setattr("napari_sam2.inference.video.spill.time.monotonic", lambda: now[0])
    budget.note(memories[0])
    with pytest.warns(UserWarning, match="less than 1 GB is free"):
        budget.note(memories[1])
    with warnings.catch_warnings(action="error"):
        budget.note(memories[2])
        assert len(tries) == 1
        now[0] += 100
        budget.note(memories[3])
        assert len(tries) == 2
        assert not any(waiting(memories))
        assert budget.held == 4 * memory(0).nbytes
        free[0] = 10**10
        now[0] += 100
        budget.note(memories[4])
    assert waiting(memories) == [True] * 4 + [False]
    assert budget.held == memory(0).nbytes
    assert [float(each.logits.max()) for each in memories] == [0, 1, 2, 3, 4]


def test_a_file_that_cannot_be_written_is_told_and_nothing_is_lost(monkeypatch):
    budget = MemoryBudget(budget=1)
    memories = [memory(value) for value in range(2)]
    budget.note(memories[0])

    def full(path, content):
        path.touch()
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(UserWarning, match="No space left"):
        budget.note(memories[1])
    assert not any(waiting(memories))
    assert list(Path(budget._folder.name).iterdir()) == []


def test_an_error_of_the_device_is_not_taken_for_one_of_the_disk(monkeypatch):
    budget = MemoryBudget(budget=1)
    memories = [memory(value) for value in range(2)]
    budget.note(memories[0])

    def broken(*_):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(RuntimeError, match="CUDA error"):
        budget.note(memories[1])


def test_a_stack_with_hardly_any_memory_gives_the_same(tiny_model, discs):
    image, _ = discs
    runs = []
    for budget in (2**30, 1):
        video = VideoPredictor(tiny_model, image)
        video._tracker.memories.budget = budget
        video.add_prompts(1, 3, [PointPrompt((33, 30))])
        video.add_prompts(2, 0, [PointPrompt((65, 70))])
        masks = [result.masks for result in video.propagate("both")]
        video.add_prompts(1, 6, [PointPrompt((36, 30)), PointPrompt((5, 5), positive=False)])
        masks += [result.masks for result in video.propagate("forward")]
        runs.append(masks)
    assert len(runs[0]) == len(runs[1])
    for one, other in zip(*runs, strict=True):
        np.testing.assert_array_equal(one, other)

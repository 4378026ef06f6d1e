"""In a stack a small model answers prompts as on the plane alone, and carries that mask."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from napari_sam2 import BoxPrompt, MaskPrompt, PointPrompt, VideoPredictor
from napari_sam2.inference import small_models
from napari_sam2.inference.feature_store import FeatureStore
from napari_sam2.inference.large import tiling
from napari_sam2.inference.large.large_plane_objects import LargePlaneObjects
from napari_sam2.inference.large.tiling import LargeImagePredictor
from napari_sam2.inference.video import looks

CLICK = PointPrompt((33, 30))
AWAY = PointPrompt((60, 60), positive=False)
FRAME = 3


@pytest.fixture
def small(tiny_model, monkeypatch):
    monkeypatch.setattr(small_models, "SMALL_MODELS", (tiny_model.config.name,))
    monkeypatch.setattr(tiling, "SMALL", 0)  # nothing is looked at closer
    return tiny_model


@pytest.fixture
def video(small, discs):
    return VideoPredictor(small, discs[0])


@pytest.fixture
def alone(small, discs):
    """The plane of the prompts, by itself."""
    return LargePlaneObjects(LargeImagePredictor(small, discs[0][FRAME], (0.0, 255.0)))


def assert_alike(result, expected):
    assert result.object_ids == expected.object_ids
    np.testing.assert_array_equal(result.masks, expected.masks)
    np.testing.assert_array_equal(result.scores, expected.scores)


@pytest.mark.parametrize(
    "steps",
    [
        [[CLICK]],
        [[CLICK], [CLICK, AWAY]],
        [[BoxPrompt((20, 20, 44, 44))], [BoxPrompt((20, 20, 44, 44)), AWAY]],
    ],
)
def test_prompts_are_answered_as_on_the_plane_alone(video, alone, steps):
    for prompts in steps:
        assert_alike(video.add_prompts(1, FRAME, prompts), alone.add_prompts(1, 0, prompts))


def test_so_are_choices(video, alone):
    video.add_prompts(1, FRAME, [CLICK])
    alone.add_prompts(1, 0, [CLICK])
    for index in (2, 0, None):
        assert_alike(video.choose_candidate(1, FRAME, index), alone.choose_candidate(1, 0, index))
    with pytest.raises(IndexError, match="no candidate 3"):
        video.choose_candidate(1, FRAME, 3)


def test_its_mask_is_what_other_frames_are_given(video, small, discs):
    """As if it had been drawn there."""
    first = video.add_prompts(1, FRAME, [CLICK])
    drawn = VideoPredictor(small, discs[0])
    drawn.add_prompts(1, FRAME, [MaskPrompt(first.masks[0])])
    for carried, expected in zip(video.propagate(), drawn.propagate(), strict=True):
        same = (carried.masks == expected.masks).mean()
        assert same > 0.95  # the outline lies within a cell of the drawn one
    assert video.result(FRAME).masks.any()


def test_nothing_of_the_stack_is_encoded_before_it_is_carried(video):
    video.add_prompts(1, FRAME, [CLICK])
    assert video.features.encoded == 0
    list(video.propagate())
    assert video.features.encoded == len(video.source)


def test_corrections_of_what_was_carried_go_by_memory(video, small, discs):
    video.add_prompts(1, FRAME, [CLICK])
    list(video.propagate())
    corrected = video.add_prompts(1, 5, [AWAY])
    new = VideoPredictor(small, discs[0])
    assert (new.add_prompts(1, 5, [AWAY]).masks != corrected.masks).any()
    assert video._tracks[1].get(5).look is None
    assert len(video.candidates(1, 5).scores) == 3


def test_a_correction_where_it_was_prompted_refines_what_is_there(video, alone):
    """A pass between the two changes nothing."""
    for prompts in ([CLICK], [CLICK, AWAY]):
        expected = alone.add_prompts(1, 0, prompts)
        assert_alike(video.add_prompts(1, FRAME, prompts), expected)
        list(video.propagate())
        assert_alike(video.result(FRAME), expected)


def test_a_click_beside_a_mask_refines_it(video, alone):
    drawn = np.zeros(video.source.plane_shape, dtype=bool)
    drawn[20:40, 20:40] = True
    video.add_prompts(1, FRAME, [MaskPrompt(drawn)])
    with pytest.raises(ValueError, match="The mask on frame 3 was given"):
        video.candidates(1, FRAME)
    prompts = [MaskPrompt(drawn), AWAY]
    assert_alike(video.add_prompts(1, FRAME, prompts), alone.add_prompts(1, 0, prompts))


def test_holes_are_filled_where_that_was_asked_for(small, discs, monkeypatch):
    ring = np.full((1, 16, 16), -5, np.float32)
    ring[0, 4:12, 4:12], ring[0, 7:9, 7:9] = 5, -5
    monkeypatch.setattr(
        LargeImagePredictor,
        "look_again",
        lambda self, prompts, answer, closer: replace(answer, logits=ring),
    )
    plain, filled = (
        VideoPredictor(small, discs[0], fill_holes=cells).add_prompts(1, FRAME, [CLICK])
        for cells in (0, 4)
    )
    assert filled.masks.sum() > plain.masks.sum()


def test_a_snapshot_brings_back_what_was_found(video):
    first = video.add_prompts(1, FRAME, [CLICK])
    kept = video.snapshot()
    list(video.propagate())
    video.add_prompts(1, FRAME, [CLICK, AWAY])
    video.restore(kept)
    assert_alike(video.result(FRAME), first)


def test_published_models_are_asked_as_they_always_were(tiny_model, discs):
    video = VideoPredictor(tiny_model, discs[0])
    video.add_prompts(1, FRAME, [CLICK])
    assert video.features.encoded == 1
    assert video._tracks[1].get(FRAME).look is None


@pytest.mark.parametrize("stored", [True, False])
def test_planes_that_were_clicked_on_are_encoded_once(small, discs, monkeypatch, tmp_path, stored):
    monkeypatch.setattr(looks, "PLANES", 2)
    encoded, encode = [], tiling.encode_plane
    monkeypatch.setattr(
        tiling, "encode_plane", lambda model, *rest: encoded.append(1) or encode(model, *rest)
    )
    store = FeatureStore(tmp_path, small.device) if stored else None
    video = VideoPredictor(small, discs[0], store=store)
    objects = count(1)

    def clicked(frame):
        return video.add_prompts(next(objects), frame, [CLICK]).masks[-1]

    found = [clicked(frame) for frame in (0, 1, 0, 1, 0)]
    assert len(encoded) == 2
    np.testing.assert_array_equal(found[0], found[-1])
    for frame in (2, 3):  # those before leave the memory
        clicked(frame)
    before = len(encoded)
    np.testing.assert_array_equal(clicked(0), found[0])
    assert (len(encoded) == before) == stored


def test_what_is_smaller_than_a_cell_of_other_planes_is_there(nano):
    stack = np.zeros((3, 1500, 1500), np.uint8)
    rows, columns = np.ogrid[:1500, :1500]
    stack[:, np.hypot(rows - 700, columns - 805) < 5] = 200
    video = VideoPredictor(nano, stack, (0.0, 255.0), store=None)
    result = video.add_prompts(1, 1, [PointPrompt((700, 805))])
    assert result.present.all()
    assert 40 < result.masks.sum() < 200
    assert (video._tracks[1].get(1).logits > 0).sum() >= 1
    assert all(mask.any() for mask in video.candidates(1, 1).masks)


def test_a_mask_that_is_kept_when_its_prompts_go_is_refined(video, small, discs):
    drawn = np.zeros(video.source.plane_shape, dtype=bool)
    drawn[20:50, 20:50] = True
    video.add_prompts(1, FRAME, [CLICK])
    video.add_prompts(1, 6, [MaskPrompt(drawn)])
    list(video.propagate())
    video.remove_prompts(1, 6)
    kept = video._tracks[1].get(6)
    assert not video._tracker._starts(video._tracks[1], 6, (AWAY,))
    video.add_prompts(1, 6, [AWAY])
    assert video._tracks[1].get(6) is not kept
    assert video._tracks[1].get(6).look is None


def test_looks_wait_on_disk_as_memories_do(small, discs):
    held, free = (VideoPredictor(small, discs[0], memory_budget=each) for each in (0, 10**9))
    for frame in range(4):
        for video in (held, free):
            video.add_prompts(1, frame, [CLICK])
    waiting = [held._tracks[1].get(frame) for frame in range(3)]
    assert all(memory.nbytes == 0 for memory in waiting)
    for frame in range(3):
        prompts = [CLICK, AWAY]
        assert_alike(held.add_prompts(1, frame, prompts), free.add_prompts(1, frame, prompts))
    for one, other in zip(held.propagate(), free.propagate(), strict=True):
        assert_alike(one, other)
    known = {*held._tracks[1].conditioning.values(), *held._tracks[1].tracked.values()}
    assert sum(memory.nbytes for memory in known) == held._tracker.memories.held


def test_too_little_memory_for_a_look_makes_room(video, monkeypatch):
    expected = video.add_prompts(1, FRAME, [CLICK])
    list(video.propagate())
    answer, failed = looks.Looks.answer, []

    def short(self, *asked):
        if not failed:
            failed.append(len(video.features._kept))
            raise MemoryError
        return answer(self, *asked)

    monkeypatch.setattr(looks.Looks, "answer", short)
    with pytest.warns(UserWarning, match="The memory does not suffice"):
        found = video.add_prompts(2, FRAME, [CLICK])
    np.testing.assert_array_equal(found.masks[1], expected.masks[0])
    assert len(video.features._kept) < failed[0]


def test_few_planes_are_held_where_there_is_little_room(small, discs):
    video = VideoPredictor(small, discs[0], memory_budget=0, store=None)
    for frame in range(4):
        video.add_prompts(1, frame, [CLICK])
    assert len(video._tracker.looks._predictors) == 1


def test_a_small_model_can_be_asked_as_others_are(small, discs):
    video = VideoPredictor(small, discs[0], look_alone=False)
    video.add_prompts(1, FRAME, [CLICK])
    assert video._tracks[1].get(FRAME).look is None


def test_nothing_is_looked_at_closer(nano, monkeypatch):
    """Which takes another call of the encoder."""
    encoded, encode = [], tiling.encode_plane
    monkeypatch.setattr(
        tiling, "encode_plane", lambda model, *rest: encoded.append(1) or encode(model, *rest)
    )
    stack = np.zeros((2, 200, 200), np.uint8)
    rows, columns = np.ogrid[:200, :200]
    stack[:, np.hypot(rows - 70, columns - 80) < 6] = 200
    video = VideoPredictor(nano, stack, (0.0, 255.0), store=None)
    assert video.add_prompts(1, 1, [PointPrompt((70, 80))]).present.all()
    video.choose_candidate(1, 1, 1)
    assert len(encoded) == 1

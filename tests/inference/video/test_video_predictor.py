from __future__ import annotations

import threading

import dask.array as da
import numpy as np
import pytest
import zarr

from napari_sam2 import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    ScribblePrompt,
    VideoPredictor,
)
from napari_sam2.inference.errors import InputError
from napari_sam2.inference.masks import intersection_over_union
from napari_sam2.inference.video import answers
from napari_sam2.inference.video.memory_bank import Track
from napari_sam2.inference.video.trackers import OBJECT_BATCH


@pytest.fixture
def video(tiny_model, discs):
    return VideoPredictor(tiny_model, discs[0])


def masks_of(video, object_id):
    return {
        frame: result.masks[result.object_ids.index(object_id)]
        for frame in range(len(video.source))
        if object_id in (result := video.result(frame)).object_ids
    }


def frames_of(results):
    return [result.frame for result in results]


def assert_same(first, second):
    assert first.keys() == second.keys()
    for frame, mask in first.items():
        np.testing.assert_array_equal(mask, second[frame])


def test_a_prompt_answers_at_once(video):
    result = video.add_prompts(1, 3, [PointPrompt((33, 30))])
    assert result.frame == 3
    assert result.object_ids == (1,)
    assert result.masks.shape == (1, 96, 96)
    assert result.present.all()
    assert 0 <= result.scores[0] <= 1
    assert video.features.encoded == 1


def test_each_frame_is_yielded_once_a_pass_and_encoded_once(video):
    video.add_prompts(1, 3, [PointPrompt((33, 30))])
    assert [r.frame for r in video.propagate()] == [3, 4, 5, 6, 7, 3, 2, 1, 0]
    assert video.features.encoded == 8
    list(video.propagate())
    assert video.features.encoded == 8


def test_objects_together_equal_objects_alone(tiny_model, discs):
    prompts = {1: (2, [PointPrompt((32, 30))]), 2: (5, [BoxPrompt((50, 50, 80, 80))])}
    together = VideoPredictor(tiny_model, discs[0])
    for object_id, (frame, given) in prompts.items():
        together.add_prompts(object_id, frame, given)
    list(together.propagate())
    for object_id, (frame, given) in prompts.items():
        alone = VideoPredictor(tiny_model, discs[0])
        alone.add_prompts(object_id, frame, given)
        list(alone.propagate())
        for at, track in alone._tracks[object_id].tracked.items():
            other = together._tracks[object_id].tracked[at]
            np.testing.assert_allclose(track.logits, other.logits, atol=1e-4)


def test_stopping_keeps_what_was_yielded(video):
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    for result in video.propagate("forward"):
        if result.frame == 3:
            break
    assert set(masks_of(video, 1)) == {0, 1, 2, 3}
    assert video.features.encoded == 4


def test_planes_are_read_lazily_and_once(tiny_model, discs):
    read = []

    def load(block_id=None):
        read.append(block_id[0])
        return discs[0][block_id[0]][None]

    meta = np.zeros((0,) * 3, np.uint8)
    lazy = da.map_blocks(load, chunks=((1,) * 8, (96,), (96,)), dtype=np.uint8, meta=meta)
    video = VideoPredictor(tiny_model, lazy)
    video.add_prompts(1, 3, [PointPrompt((33, 30))])
    assert read == [3]
    list(video.propagate())
    assert sorted(read) == list(range(8))


def test_a_correction_changes_its_frame_and_the_passes_after_it(video):
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    list(video.propagate("forward"))
    before = masks_of(video, 1)
    corrected = video.add_prompts(1, 4, [PointPrompt((70, 70)), PointPrompt((10, 10), False)])
    assert 4 not in video._tracks[1].conditioning  # but from the next pass on
    list(video.propagate("forward", start=0))
    assert 4 in video._tracks[1].conditioning
    after = masks_of(video, 1)
    np.testing.assert_array_equal(after[4], corrected.masks[0])
    assert any((before[frame] != after[frame]).any() for frame in (5, 6, 7))


def test_a_correction_taken_back_at_once_leaves_what_was_tracked(video):
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    list(video.propagate("forward"))
    before = masks_of(video, 1)
    video.add_prompts(1, 4, [PointPrompt((70, 70)), PointPrompt((10, 10), False)])
    video.remove_prompts(1, 4)
    assert_same(masks_of(video, 1), before)


def test_a_prompt_where_nothing_is_left_to_attend_to(video):
    video.add_prompts(1, 7, [PointPrompt((30, 30))])
    list(video.propagate("backward", start=2))
    video.add_prompts(1, 5, [PointPrompt((30, 30))])
    video.remove_prompts(1, 7)
    assert video.add_prompts(1, 2, [PointPrompt((30, 30))]).object_ids == (1,)


def test_corrections_before_a_pass_do_not_see_each_other(video, tiny_model, discs):
    other = VideoPredictor(tiny_model, discs[0])
    for each in (video, other):
        each.add_prompts(1, 0, [PointPrompt((30, 30))])
        list(each.propagate("forward"))
    video.add_prompts(1, 4, [PointPrompt((70, 70))])
    for each in (video, other):
        each.add_prompts(1, 6, [PointPrompt((60, 60))])
    found, alone = video._tracks[1].get(6), other._tracks[1].get(6)
    np.testing.assert_array_equal(found.logits, alone.logits)


def test_a_prompt_taken_away_leaves_no_trace(video, tiny_model, discs):
    video.add_prompts(1, 2, [PointPrompt((32, 30))])
    video.add_prompts(1, 2, [PointPrompt((32, 30)), PointPrompt((60, 60))])
    video.add_prompts(1, 2, [PointPrompt((60, 60))])
    fresh = VideoPredictor(tiny_model, discs[0])
    fresh.add_prompts(1, 2, [PointPrompt((60, 60))])
    assert_same(masks_of(video, 1), masks_of(fresh, 1))


def test_more_prompts_refine_the_mask_so_far(video, tiny_model, discs):
    clicks = [PointPrompt((32, 30)), PointPrompt((60, 60))]
    video.add_prompts(1, 2, clicks[:1])
    video.add_prompts(1, 2, clicks)
    at_once = VideoPredictor(tiny_model, discs[0])
    at_once.add_prompts(1, 2, clicks)
    refined, fresh = video._tracks[1].get(2), at_once._tracks[1].get(2)
    assert (refined.logits != fresh.logits).any()


def test_a_mask_prompt_is_the_answer(video, discs):
    mask = discs[1][4] == 2
    result = video.add_prompts(2, 4, [MaskPrompt(mask)])
    # a decoder cell is six pixels wide
    assert intersection_over_union(result.masks[0], mask) > 0.85
    assert result.scores[0] == 1


SQUARE = ((19.5, 19.5), (19.5, 40.5), (40.5, 40.5), (40.5, 19.5))


def square():
    mask = np.zeros((96, 96), dtype=bool)
    mask[20:41, 20:41] = True
    return mask


def test_a_polygon_is_its_mask(video):
    drawn = video.add_prompts(1, 2, [PolygonPrompt(SQUARE)])
    given = video.add_prompts(2, 2, [MaskPrompt(square())])
    np.testing.assert_array_equal(drawn.masks[0], given.masks[1])


def test_several_masks_of_one_object_are_one(video):
    other = np.roll(square(), 40, axis=1)
    video.add_prompts(1, 2, [PolygonPrompt(SQUARE), MaskPrompt(other)])
    both = video.add_prompts(2, 2, [MaskPrompt(square() | other)])
    np.testing.assert_array_equal(both.masks[0], both.masks[1])


def test_a_scribble_is_clicks(video):
    video.add_prompts(1, 2, [ScribblePrompt(((30, 20), (30, 36)))])
    clicks = [PointPrompt((30, column)) for column in (22, 26, 30, 34)]
    both = video.add_prompts(2, 2, clicks)
    np.testing.assert_array_equal(both.masks[0], both.masks[1])


def test_clicks_refine_a_mask_the_same_way_each_time(video):
    clicks = [PointPrompt((30, 30)), PointPrompt((80, 80), positive=False)]
    given = video.add_prompts(1, 2, [MaskPrompt(square())]).masks[0]
    refined = video.add_prompts(1, 2, [MaskPrompt(square()), *clicks])
    again = video.add_prompts(1, 2, [*clicks, MaskPrompt(square())])
    np.testing.assert_array_equal(refined.masks, again.masks)
    clicked = video.add_prompts(2, 2, clicks).masks[1]
    assert (refined.masks[0] != given).any()
    assert (refined.masks[0] != clicked).any()
    list(video.propagate("forward"))
    np.testing.assert_array_equal(video.result(2).masks[0], refined.masks[0])


def test_a_mask_taken_away_leaves_no_trace(video):
    video.add_prompts(1, 2, [PolygonPrompt(SQUARE), PointPrompt((32, 30))])
    video.add_prompts(1, 2, [PointPrompt((32, 30))])
    both = video.add_prompts(2, 2, [PointPrompt((32, 30))])
    np.testing.assert_array_equal(both.masks[0], both.masks[1])


CLICK, BOX = PointPrompt((32, 30)), BoxPrompt((18, 18, 46, 44))


@pytest.mark.parametrize("prompts", [[CLICK], [CLICK, BOX], [CLICK, MaskPrompt(square())]])
def test_three_candidates_best_first(video, prompts):
    video.add_prompts(1, 2, prompts)
    found = video.candidates(1, 2)
    assert found.masks.shape == (3, 96, 96)
    assert found.logits.shape == (3, 16, 16)
    assert sorted(found.scores, reverse=True) == list(found.scores)
    assert video.features.encoded == 1


def test_a_single_click_gets_the_best_candidate(video):
    result = video.add_prompts(1, 2, [CLICK])
    np.testing.assert_array_equal(result.masks[0], video.candidates(1, 2).masks[0])
    own, best, *_ = video._tracks[1].answers[2]
    np.testing.assert_allclose(own.pointer, best.pointer, atol=1e-5)


def test_a_click_in_a_mask_is_not_ambiguous(video):
    video.add_prompts(1, 2, [CLICK, MaskPrompt(square())])
    own, best, *_ = video._tracks[1].answers[2]
    assert not np.allclose(own.pointer, best.pointer, atol=1e-5)


def test_a_chosen_candidate_is_carried_on_and_can_be_taken_back(video):
    video.add_prompts(1, 2, [CLICK])
    found = video.candidates(1, 2)
    list(video.propagate("forward"))
    before = masks_of(video, 1)
    chosen = video.choose_candidate(1, 2, 2)
    np.testing.assert_array_equal(chosen.masks[0], found.masks[2])
    assert chosen.scores[0] == found.scores[2]
    list(video.propagate("forward"))
    after = masks_of(video, 1)
    np.testing.assert_array_equal(after[2], found.masks[2])
    assert any((before[frame] != after[frame]).any() for frame in range(3, 8))
    video.choose_candidate(1, 2, None)
    list(video.propagate("forward"))
    assert_same(masks_of(video, 1), before)


def test_further_prompts_refine_the_chosen_candidate(video):
    for object_id in (1, 2):
        video.add_prompts(object_id, 2, [CLICK])
    video.choose_candidate(2, 2, 2)
    for object_id in (1, 2):
        refined = video.add_prompts(object_id, 2, [CLICK, PointPrompt((60, 60))])
    assert (refined.masks[0] != refined.masks[1]).any()


def test_choosing_a_candidate_says_that_the_object_is_there(video, tiny_model):
    bias = tiny_model.network.mask_decoder.presence_head.layers[-1].bias
    try:
        bias.fill_(-10.0)
        absent = video.add_prompts(1, 2, [CLICK])
    finally:
        bias.fill_(10.0)
    assert not absent.masks.any()
    chosen = video.choose_candidate(1, 2, 0)
    assert chosen.present.all()
    np.testing.assert_array_equal(chosen.masks[0], video.candidates(1, 2).masks[0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda v: v.candidates(1, 3), KeyError, "no prompts on frame 3"),
        (lambda v: v.candidates(9, 2), KeyError, "Object 9 has no prompts"),
        (lambda v: v.choose_candidate(1, 2, 3), IndexError, "no candidate 3: there are 3"),
        (lambda v: v.choose_candidate(1, 2, -1), IndexError, "no candidate -1"),
        (lambda v: v.candidates(2, 2), ValueError, "was given"),
    ],
)
def test_candidates_that_are_not_there(video, call, error, message):
    video.add_prompts(1, 2, [CLICK])
    video.add_prompts(2, 2, [PolygonPrompt(SQUARE)])
    before = video.result(2)
    with pytest.raises(error, match=message):
        call(video)
    np.testing.assert_array_equal(video.result(2).masks, before.masks)


def test_removing_prompts_and_objects(video):
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    video.add_prompts(2, 0, [PointPrompt((65, 70))])
    list(video.propagate("forward"))
    video.add_prompts(1, 3, [PointPrompt((33, 30))])
    video.remove_prompts(1, 3)
    assert set(video._tracks[1].conditioning) == {0}
    assert 3 in masks_of(video, 1)  # still a part of the track
    video.remove_prompts(1, 0)
    assert video.object_ids == (2,)
    video.remove_object(2)
    assert video.object_ids == ()
    with pytest.raises(KeyError, match="no object 2"):
        video.remove_object(2)
    with pytest.raises(KeyError, match="no prompts on frame 5"):
        video.remove_prompts(1, 5)


def test_an_object_removed_while_propagating_is_left_out(video):
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    video.add_prompts(2, 0, [PointPrompt((65, 70))])
    run = video.propagate("forward")
    next(run)
    video.remove_object(1)
    assert all(result.object_ids == (2,) for result in run)


def test_an_object_removed_and_prompted_anew_waits_for_the_next_pass(video):
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    video.add_prompts(2, 0, [PointPrompt((65, 70))])
    run = video.propagate("forward")
    next(run)
    video.remove_object(1)
    video.add_prompts(1, 5, [PointPrompt((35, 30))])
    assert frames_of(run) == list(range(1, 8))
    assert set(masks_of(video, 1)) == {5}
    list(video.propagate("forward"))
    assert set(masks_of(video, 1)) == {5, 6, 7}


def test_absent_objects_stop(tiny_model, discs):
    network = tiny_model.network
    bias = network.mask_decoder.presence_head.layers[-1].bias
    video = VideoPredictor(tiny_model, discs[0])
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    try:
        bias.fill_(-10.0)
        results = list(video.propagate("forward", stop_when_absent=2))
    finally:
        bias.fill_(10.0)
    assert [result.frame for result in results] == [0, 1, 2]
    assert not results[-1].present.any()
    assert not results[-1].masks.any()


def test_absence_forgets_nothing_outside_the_range(tiny_model, discs, monkeypatch):
    monkeypatch.setattr(
        Track, "origin", lambda self, seen, reverse: object()
    )  # the model will change
    bias = tiny_model.network.mask_decoder.presence_head.layers[-1].bias
    forward, backward = (VideoPredictor(tiny_model, discs[0]) for _ in range(2))
    for video in (forward, backward):
        for frame in (1, 6):
            video.add_prompts(1, frame, [PointPrompt((30, 30))])
        list(video.propagate())
    try:
        bias.fill_(-10.0)
        list(forward.propagate("both", start=0, stop=4, stop_when_absent=1))
        list(backward.propagate("backward", start=7, stop=3, stop_when_absent=1))
    finally:
        bias.fill_(10.0)
    assert set(masks_of(forward, 1)) == {0, 1, 2, 5, 6, 7}
    assert set(masks_of(backward, 1)) == {0, 1, 2, 5, 6, 7}


def test_an_absent_object_is_taken_up_where_it_is_prompted_again(tiny_model, discs, monkeypatch):
    monkeypatch.setattr(
        Track, "origin", lambda self, seen, reverse: object()
    )  # the model will change
    bias = tiny_model.network.mask_decoder.presence_head.layers[-1].bias
    video = VideoPredictor(tiny_model, discs[0])
    for frame in (0, 5):
        video.add_prompts(1, frame, [PointPrompt((30, 30))])
    list(video.propagate())
    try:
        bias.fill_(-10.0)
        forward = [r.frame for r in video.propagate("forward", stop_when_absent=2)]
        known = set(masks_of(video, 1))
        backward = [r.frame for r in video.propagate("backward", start=7, stop_when_absent=1)]
    finally:
        bias.fill_(10.0)
    assert forward == [0, 1, 2, 5, 6, 7]
    assert known == {0, 1, 2, 5, 6, 7}
    assert backward == [7, 5, 4, 0]
    assert set(masks_of(video, 1)) == {0, 4, 5, 7}


def test_only_what_a_correction_can_change_is_computed_again(video, monkeypatch):
    followed = []
    follow = video._tracker._follow_batch
    monkeypatch.setattr(
        video._tracker,
        "_follow_batch",
        lambda frame, batch, reverse: (
            followed.append((frame, len(batch))) or follow(frame, batch, reverse)
        ),
    )
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    video.add_prompts(2, 0, [PointPrompt((65, 70))])
    list(video.propagate("forward"))
    assert followed == [(frame, 2) for frame in range(1, 8)]
    followed.clear()
    before = masks_of(video, 1), masks_of(video, 2)
    assert [result.frame for result in video.propagate("forward")] == list(range(8))
    assert followed == []
    video.add_prompts(1, 4, [PointPrompt((70, 70))])
    list(video.propagate("forward"))
    # the other object stays as it was, and every frame attends to the correction
    assert followed == [(frame, 1) for frame in (1, 2, 3, 5, 6, 7)]
    assert_same(masks_of(video, 2), before[1])
    assert video.features.encoded == 8


def test_passes_both_ways_settle(video, monkeypatch):
    """Each pass attends to what the other has found, which must not go on for ever."""
    for object_id, place in ((1, (30, 30)), (2, (65, 70))):
        video.add_prompts(object_id, 4, [PointPrompt(place)])
    list(video.propagate("both"))
    before = masks_of(video, 1), masks_of(video, 2)
    follow = video._tracker._follow_batch
    followed = []
    monkeypatch.setattr(
        video._tracker,
        "_follow_batch",
        lambda frame, batch, reverse: followed.append(frame) or follow(frame, batch, reverse),
    )
    list(video.propagate("both"))
    assert followed == []
    video.add_prompts(1, 6, [PointPrompt((70, 70))])
    list(video.propagate("both"))
    assert sorted(followed) == [0, 1, 2, 3, 5, 7]
    assert_same(masks_of(video, 2), before[1])


def test_what_is_known_is_what_would_be_computed(tiny_model, discs, monkeypatch):
    """Steps that reuse what they can give what the same steps give that compute everything."""

    def steps():
        video = VideoPredictor(tiny_model, discs[0])
        video.add_prompts(1, 2, [PointPrompt((32, 30))])
        video.add_prompts(2, 5, [BoxPrompt((50, 50, 80, 80))])
        list(video.propagate("both"))
        list(video.propagate("forward", start=0))
        video.add_prompts(1, 4, [PointPrompt((70, 70))])
        list(video.propagate("both"))
        video.remove_prompts(1, 4)
        list(video.propagate("backward", start=7))
        list(video.propagate("both"))
        return masks_of(video, 1), masks_of(video, 2)

    reused = steps()
    monkeypatch.setattr(Track, "origin", lambda self, seen, reverse: object())
    for first, second in zip(reused, steps(), strict=True):
        assert_same(first, second)


def test_a_pass_stops_where_masks_stay_the_same(video):
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    list(video.propagate("forward"))
    known = masks_of(video, 1)
    frames = [r.frame for r in video.propagate("forward", stop_when_unchanged=3)]
    assert frames == [0, 1, 2, 3]
    assert_same(masks_of(video, 1), known)


@pytest.fixture
def settled(monkeypatch):
    """Masks that are computed again count as unchanged."""
    monkeypatch.setattr(
        "napari_sam2.inference.video.propagation.alike",
        lambda before, after: before is not None,
    )


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("reverse", [False, True])
def test_a_correction_beyond_where_masks_stay_the_same_is_carried(video, reverse):
    direction, start, later = ("backward", 7, 2) if reverse else ("forward", 0, 5)
    video.add_prompts(1, start, [PointPrompt((30, 30))])
    list(video.propagate(direction))
    video.add_prompts(1, later, [PointPrompt((70, 70))])
    frames = frames_of(video.propagate(direction, start=start, stop_when_unchanged=2))
    expected = [0, 1, 2, 5, 6, 7]
    assert frames == ([7 - frame for frame in expected] if reverse else expected)


def test_a_cancelled_pass_is_finished_though_masks_stay_the_same(video):
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    run = video.propagate("forward")
    assert [next(run).frame for _ in range(5)] == [0, 1, 2, 3, 4]
    run.close()
    assert frames_of(video.propagate("forward", stop_when_unchanged=2)) == list(range(8))
    assert set(masks_of(video, 1)) == set(range(8))


@pytest.mark.usefixtures("settled")
def test_a_cancelled_correction_is_carried_on(video):
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    list(video.propagate("forward"))
    video.add_prompts(1, 2, [PointPrompt((70, 70))])
    run = video.propagate("forward")
    assert [next(run).frame for _ in range(5)] == [0, 1, 2, 3, 4]
    run.close()
    before = [video._tracks[1].get(frame) for frame in range(8)]
    frames = frames_of(video.propagate("forward", stop_when_unchanged=2))
    assert frames == list(range(7))
    known = [video._tracks[1].get(frame) is memory for frame, memory in enumerate(before)]
    assert known == [True] * 5 + [False] * 2 + [True]


def test_memory_that_does_not_suffice_makes_batches_smaller(tiny_model, discs, monkeypatch):
    video = VideoPredictor(tiny_model, discs[0])
    objects = range(1, 7)
    for object_id in objects:
        video.add_prompts(object_id, 0, [PointPrompt((10 * object_id, 30))])
    network, most = tiny_model.network, []
    with_memory = type(network).with_memory

    def scarce(self, features, memories):
        most.append(len(memories.maps))
        if len(memories.maps) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return with_memory(self, features, memories)

    monkeypatch.setattr(type(network), "with_memory", scarce)
    with pytest.warns(UserWarning, match="fewer objects are tracked at a time") as told:
        results = list(video.propagate("forward"))
    assert [result.object_ids for result in results] == [tuple(objects)] * 8
    assert most[:3] == [4, 2, 1]
    assert set(most[3:]) == {1}
    assert len(told) == 1


def test_prompts_survive_memory_that_is_taken_up_by_planes(tiny_model, discs, monkeypatch):
    video = VideoPredictor(tiny_model, discs[0])
    for frame in range(3):
        video.add_prompts(1, frame, [PointPrompt((30, 30))])
    network, kept = type(tiny_model.network), video._tracker.features._kept
    encode_image, at_most = network.encode_image, 1

    def scarce(self, image):
        if len(kept) > at_most:
            raise RuntimeError("CUDA out of memory.")
        return encode_image(self, image)

    monkeypatch.setattr(network, "encode_image", scarce)
    with pytest.warns(UserWarning, match="fewer planes kept"):
        assert video.add_prompts(1, 5, [PointPrompt((30, 30))]).object_ids == (1,)
    assert video._tracker.batch == OBJECT_BATCH  # which one object at a time says nothing of
    at_most = 0
    with pytest.raises(RuntimeError, match="out of memory"):  # nothing is left to give up
        video.add_prompts(1, 6, [PointPrompt((30, 30))])


def test_objects_that_attend_to_more_are_fewer_at_a_time(tiny_model, discs, monkeypatch):
    # keys and values of eight maps of 4 x 4, 64 wide
    monkeypatch.setattr("napari_sam2.inference.video.trackers.BATCH_BYTES", 8 * 3 * 4 * 16 * 64)
    video = VideoPredictor(tiny_model, discs[0])
    for object_id in range(1, 7):
        for frame in (0, 6, 7) if object_id > 3 else (0,):
            video.add_prompts(object_id, frame, [PointPrompt((10 * object_id, 30))])
    network, batches = tiny_model.network, []
    with_memory = type(network).with_memory

    def noted(self, features, memories):
        batches.append(memories.maps.shape[:2])
        return with_memory(self, features, memories)

    monkeypatch.setattr(type(network), "with_memory", noted)
    list(video.propagate("forward", stop=3))
    assert batches == [(3, 1), (2, 3), (1, 3), (3, 2), (2, 4), (1, 4), (2, 3), (1, 3)] + 3 * [
        (1, 5)
    ]


def test_an_error_of_another_kind_is_not_taken_for_scarce_memory(video, monkeypatch):
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    run = video.propagate("forward")
    next(run)

    def broken(*_):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(video._tracker, "_follow_batch", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        next(run)


def test_the_first_mask_of_a_long_zarr_takes_one_plane(tiny_model, discs, tmp_path):
    stored = zarr.create_array(
        tmp_path / "long.zarr", shape=(1000, 96, 96), chunks=(1, 96, 96), dtype="uint8"
    )
    stored[500] = discs[0][0]
    read = []

    class Watched:
        shape, dtype = stored.shape, stored.dtype

        def __getitem__(self, index):
            read.append(index[0])
            return stored[index]

    video = VideoPredictor(tiny_model, Watched())
    video.add_prompts(1, 500, [PointPrompt((30, 30))])
    assert read == [500]
    assert video.features.encoded == 1


def test_a_plane_is_read_while_the_one_before_is_worked_on(tiny_model, discs):
    reads = []

    class Slow:
        shape, dtype = discs[0].shape, discs[0].dtype

        def __getitem__(self, index):
            reads.append((index[0], threading.current_thread() is threading.main_thread()))
            return discs[0][index]

    video = VideoPredictor(tiny_model, Slow())
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    assert [frame for frame, _ in reads] == [0]
    run = video.propagate("forward")
    next(run)
    next(run)
    run.close()
    # the plane ahead, and no further
    assert [frame for frame, _ in reads] == [0, 1, 2]
    assert not any(on_main for _, on_main in reads)


def test_a_plane_that_cannot_be_read_says_so(tiny_model, discs):
    class Broken:
        shape, dtype = discs[0].shape, discs[0].dtype

        def __getitem__(self, index):
            if index[0] == 3:
                raise OSError("the disk is gone")
            return discs[0][index]

    video = VideoPredictor(tiny_model, Broken())
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    run = video.propagate("forward")
    assert [next(run).frame for _ in range(3)] == [0, 1, 2]
    with pytest.raises(InputError, match=r"Plane 3 of the image cannot be read.*the disk is gone"):
        next(run)
    assert video._planes.reader.following is None
    assert set(masks_of(video, 1)) == {0, 1, 2}
    video.add_prompts(2, 1, [PointPrompt((30, 30))])
    with pytest.raises(InputError, match="Plane 3"):
        list(video.propagate("both", object_ids=[2]))
    assert set(masks_of(video, 2)) == {0, 1, 2}  # the other way is whole


def test_a_mask_too_small_for_the_model_is_named(tiny_model):
    video = VideoPredictor(tiny_model, np.zeros((2, 400, 400), np.uint8))
    mask = np.zeros((400, 400), bool)
    mask[200, 200] = True
    with pytest.raises(ValueError, match="mask of 1 pixels is too thin or too small"):
        video.add_prompts(1, 0, [MaskPrompt(mask)])
    assert video.object_ids == ()


def test_small_holes_are_filled_on_request(tiny_model, discs):
    plain, filled = (VideoPredictor(tiny_model, discs[0], fill_holes=n) for n in (0, 10**6))
    for video in (plain, filled):
        video.add_prompts(1, 0, [PointPrompt((30, 30))])
        list(video.propagate("forward", stop=2))
    assert all(mask.all() for mask in masks_of(filled, 1).values())
    assert not all(mask.all() for mask in masks_of(plain, 1).values())


def test_a_single_plane_has_nothing_to_propagate_to(tiny_model, discs):
    video = VideoPredictor(tiny_model, discs[0][:1])
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    assert [r.frame for r in video.propagate("forward")] == [0]


@pytest.mark.parametrize("dtype", ["bool", "uint32", "float64", "int16"])
def test_other_dtypes(tiny_model, discs, dtype):
    video = VideoPredictor(tiny_model, discs[0].astype(dtype))
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    assert len(list(video.propagate("forward", stop=2))) == 3


def test_nan_and_colours(tiny_model, discs):
    stack = np.repeat(discs[0][..., None], 3, axis=-1).astype(np.float32)
    stack[0, :10] = np.nan
    stack[1, 5, 5] = np.inf
    video = VideoPredictor(tiny_model, stack)
    result = video.add_prompts(1, 0, [PointPrompt((30, 30))])
    assert np.isfinite(video.contrast_limits).all()
    assert np.isfinite(result.scores).all()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda v: v.propagate(), ValueError, "no prompt yet"),
        (lambda v: v.add_prompts(0, 0, [PointPrompt((1, 1))]), ValueError, "whole numbers from 1"),
        (lambda v: v.add_prompts(1, 8, [PointPrompt((1, 1))]), IndexError, "has 8"),
        (lambda v: v.add_prompts(1, 0, []), ValueError, "no prompt"),
        (lambda v: v.add_prompts(1, 0, [PointPrompt((99, 1))]), ValueError, "outside"),
    ],
)
def test_mistakes_are_named_before_work_starts(video, call, error, message):
    with pytest.raises(error, match=message):
        call(video)
    assert video.object_ids == ()
    assert video.features.encoded == 0


@pytest.mark.parametrize(
    ("how", "frames"),
    [
        ({"start": 3, "stop": 4}, [3, 4]),
        ({"start": 0, "stop": 1}, [1, 0]),
        ({"start": 2, "stop": 3}, [2, 3, 2]),
    ],
)
def test_a_range_beside_the_prompt_is_come_to_from_one_side(video, how, frames):
    video.add_prompts(1, 2, [PointPrompt((30, 30))])
    assert [result.frame for result in video.propagate("both", **how)] == frames


@pytest.mark.parametrize(("direction", "stop"), [("forward", 1), ("backward", 3)])
def test_a_range_that_cannot_be_come_to_is_refused(video, direction, stop):
    video.add_prompts(1, 2, [PointPrompt((30, 30))])
    with pytest.raises(ValueError, match="side of the prompts"):
        video.propagate(direction, stop=stop)


def test_wrong_ranges_are_named(video):
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    with pytest.raises(IndexError, match="no frame 8"):
        video.propagate(stop=8)
    with pytest.raises(ValueError, match="stop_when_unchanged is 0"):
        video.propagate(stop_when_unchanged=0)
    with pytest.raises(ValueError, match="memory_budget is -1"):
        VideoPredictor(video.model, video.source, memory_budget=-1)
    with pytest.raises(ValueError, match="fill_holes is -1"):
        VideoPredictor(video.model, video.source, fill_holes=-1)
    with pytest.raises(ValueError, match="stop_when_absent"):
        video.propagate(stop_when_absent=0)


def test_a_failed_prompt_leaves_the_object_as_it_was(video):
    video.add_prompts(1, 0, [PointPrompt((30, 30))])
    before = masks_of(video, 1)
    with pytest.raises(ValueError, match="outside"):
        video.add_prompts(1, 0, [PointPrompt((-50, 30))])
    assert_same(before, masks_of(video, 1))


def test_only_the_chosen_objects_are_carried(video):
    video.add_prompts(1, 3, [PointPrompt((20, 20))])
    video.add_prompts(2, 3, [PointPrompt((44, 44))])
    list(video.propagate("both"))
    before = masks_of(video, 1), masks_of(video, 2)
    for object_id in (1, 2):
        video.add_prompts(object_id, 3, [BoxPrompt((5, 5, 30, 30))])
    list(video.propagate("both", object_ids=[2]))
    after = masks_of(video, 1), masks_of(video, 2)
    del before[0][3], after[0][3]
    assert_same(before[0], after[0])
    assert any(not np.array_equal(before[1][frame], after[1][frame]) for frame in after[1])
    with pytest.raises(KeyError, match="no object 7"):
        video.propagate(object_ids=[2, 7])


def test_a_prompt_that_was_taken_back_leaves_no_trace(tiny_model, discs):
    def clicked(*earlier):
        video = VideoPredictor(tiny_model, discs[0])
        video.add_prompts(1, 0, [PointPrompt((32, 30))])
        for prompt in earlier:
            video.add_prompts(1, 3, [prompt])
            list(video.propagate("both"))
            video.remove_prompts(1, 3, keep_mask=False)
        result = video.add_prompts(1, 3, [PointPrompt((70, 70))])
        return result.masks

    assert_same({3: clicked()}, {3: clicked(BoxPrompt((50, 50, 80, 80)))})


def test_of_two_objects_with_the_same_mask_one_is_absent(tiny_model, discs, monkeypatch):
    def propagated(distinct):
        video = VideoPredictor(tiny_model, discs[0], distinct=distinct)
        for object_id, frame in ((1, 0), (2, 3)):
            video.add_prompts(object_id, frame, [MaskPrompt(discs[1][frame] == 1)])
        return {result.frame: result for result in video.propagate("both")}

    monkeypatch.setattr(answers, "repeated_masks", lambda crops, _: set(range(len(crops))))
    for frame, result in propagated(distinct=True).items():
        present = dict(zip(result.object_ids, result.present.tolist(), strict=True))
        # where it was prompted it stays
        assert present == {object_id: frame == {1: 0, 2: 3}[object_id] for object_id in present}
        for object_id, crop in zip(result.object_ids, result.crops, strict=True):
            assert (crop.logits.size > 0) == present[object_id]
    assert all(result.present.all() for result in propagated(distinct=False).values())

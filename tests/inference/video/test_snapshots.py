"""Going back to what a predictor knew."""

import numpy as np

from napari_sam2.inference.prompts import PointPrompt
from napari_sam2.inference.video.video_predictor import VideoPredictor


def test_a_snapshot_does_not_change_and_brings_everything_back(tiny_model, discs):
    stack, _ = discs
    video = VideoPredictor(tiny_model, stack)
    video.add_prompts(1, 2, [PointPrompt((32.0, 30.0))])
    video.add_prompts(2, 4, [PointPrompt((65.0, 74.0))])
    list(video.propagate("forward"))
    snapshot = video.snapshot()
    before = [video.result(frame) for frame in range(len(stack))]
    steps = video.propagate("backward")
    next(steps)
    inside = video.snapshot()
    partly = [video.result(frame).object_ids for frame in range(len(stack))]
    list(steps)
    video.add_prompts(1, 5, [PointPrompt((35.0, 30.0))])
    video.choose_candidate(2, 4, 1)
    video.remove_prompts(1, 2)
    video.remove_object(2)
    video.restore(inside)
    assert [video.result(frame).object_ids for frame in range(len(stack))] == partly
    video.restore(snapshot)
    for frame, expected in enumerate(before):
        found = video.result(frame)
        assert found.object_ids == expected.object_ids
        for crop, other in zip(found.crops, expected.crops, strict=True):
            np.testing.assert_array_equal(crop.logits, other.logits)


def test_a_pass_ends_when_a_snapshot_is_restored(tiny_model, discs):
    video = VideoPredictor(tiny_model, discs[0])
    blank = video.snapshot()
    video.add_prompts(1, 2, [PointPrompt((32.0, 30.0))])
    snapshot = video.snapshot()
    for each in (blank, snapshot):
        video.add_prompts(1, 2, [PointPrompt((32.0, 30.0))])
        steps = video.propagate("forward")
        next(steps)
        video.restore(each)
        assert list(steps) == []
        known = [frame for frame in range(8) if video.result(frame).object_ids]
        assert known == ([2] if each is snapshot else [])

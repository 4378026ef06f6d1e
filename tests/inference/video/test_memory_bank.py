from __future__ import annotations

import math

import pytest
import torch

from napari_sam2.inference.prompts import PointPrompt
from napari_sam2.inference.video.memory_bank import FrameMemory, Track, attended


def test_forward_sees_all_prompts_and_the_six_frames_before():
    seen = attended(10, {0, 30}, set(range(1, 10)), frames=40, reverse=False)
    assert set(seen.maps) == {(0, 6), (30, 6), (9, 0), (8, 1), (7, 2), (6, 3), (5, 4), (4, 5)}
    # a prompt of the future gives its memory, but not its pointer
    assert set(seen.pointers) == {(0, 10)} | {(10 - back, back) for back in range(1, 10)}


def test_reverse_is_the_mirror_image():
    forward = attended(10, {3}, {7, 8, 9}, frames=21, reverse=False)
    reverse = attended(10, {17}, {13, 12, 11}, frames=21, reverse=True)
    assert [(20 - f, t) for f, t in reverse.maps] == list(forward.maps)
    assert [(20 - f, t) for f, t in reverse.pointers] == list(forward.pointers)


def test_pointers_reach_fifteen_frames_back_and_prompts_any_distance():
    seen = attended(100, {2}, set(range(3, 100)), frames=200, reverse=False)
    assert (2, 98) in seen.pointers
    assert max(back for frame, back in seen.pointers if frame != 2) == 15


def test_a_short_stack_shortens_the_reach():
    seen = attended(4, {0}, {1, 2, 3}, frames=4, reverse=False)
    assert max(back for frame, back in seen.pointers if frame) == 3


def test_a_prompt_corrected_again_attends_to_itself():
    seen = attended(5, {5}, {3, 4}, frames=10, reverse=False)
    assert (5, 6) in seen.maps
    assert (5, 0) in seen.pointers


def test_certainty_is_lost_on_the_way_from_the_nearest_prompt():
    def memory(score):
        return FrameMemory(torch.zeros(1, 8, 8), score, True, torch.zeros(4))

    prompts = (PointPrompt((1, 1)),)
    track = Track(prompts={2: prompts, 9: prompts}, conditioning={2: memory(0.9), 9: memory(0.5)})
    track.tracked = {1: memory(0.7), 3: memory(0.8), 5: memory(0.6), 6: memory(0.0)}
    assert track.certainty(2) == track.certainty(9) == 0.0
    assert track.certainty(1) == pytest.approx(math.log(0.9 * 0.7))
    # what is not known on the way tells nothing
    assert track.certainty(5) == pytest.approx(math.log(0.9 * 0.8 * 0.6))
    assert -math.inf < track.certainty(6) < track.certainty(5)

from __future__ import annotations

import pytest

from napari_sam2.inference.video.passes import plan_passes

PROMPTED = {1: [3], 2: [5, 8]}


def test_each_object_runs_outward_from_its_prompts():
    forward, backward = plan_passes(PROMPTED, "both", None, None, 10)
    assert forward == (False, {1: range(3, 10), 2: range(5, 10)})
    assert backward == (True, {1: range(4), 2: range(6)})


def test_backward_alone_covers_what_lies_between_prompts():
    assert plan_passes(PROMPTED, "backward", None, None, 10) == [(True, {1: range(4), 2: range(9)})]


def test_an_explicit_start_runs_every_object_over_the_whole_range():
    assert plan_passes(PROMPTED, "forward", 1, 6, 10) == [(False, {1: range(1, 7), 2: range(1, 7)})]
    assert plan_passes(PROMPTED, "backward", 9, 2, 10) == [
        (True, {1: range(2, 10), 2: range(2, 10)})
    ]


def test_both_stays_within_the_range():
    forward, backward = plan_passes(PROMPTED, "both", 4, 7, 10)
    assert forward == (False, {1: range(4, 8), 2: range(5, 8)})
    assert backward == (True, {1: range(4, 4), 2: range(4, 6)})


@pytest.mark.parametrize(
    ("direction", "start", "stop", "message"),
    [("forward", 6, 2, "holds no frame"), ("backward", 2, 6, "holds no frame"),
     ("sideways", None, None, "must be 'forward'")],
)  # fmt: skip
def test_wrong_ranges_are_named(direction, start, stop, message):
    with pytest.raises(ValueError, match=message):
        plan_passes(PROMPTED, direction, start, stop, 10)

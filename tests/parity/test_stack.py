"""Whole stacks against sam2's video predictor."""

from __future__ import annotations

import numpy as np
import pytest
from tests.parity.published import scaled

from napari_sam2 import BoxPrompt, MaskPrompt, PointPrompt
from napari_sam2.model.mask_decoder import Decoded

pytestmark = pytest.mark.parity

ON_FIRST = PointPrompt((34, 40))
ON_SECOND = PointPrompt((60, 78))
OUTSIDE = PointPrompt((80, 10), positive=False)
AROUND_SECOND = BoxPrompt((40, 60, 80, 98))


def disc(row: float, column: float, radius: float) -> MaskPrompt:
    rows, columns = np.mgrid[:96, :120]
    return MaskPrompt((rows - row) ** 2 + (columns - column) ** 2 < radius**2)


@pytest.mark.parametrize(
    ("variant", "frames", "size"),
    [("sam2.1_tiny", 6, 512), ("sam2_tiny", 8, 256), ("sam2_tiny", 5, 512)],
)
def test_objects_prompted_on_different_frames(pair, variant, frames, size):
    both = pair("two objects, forward, backward, correction, forward", frames, variant, size)
    both.prompt(1, 2, ON_FIRST)
    both.prompt(2, 4, AROUND_SECOND, ON_SECOND)
    both.forward(0)
    both.backward(frames - 1)
    both.prompt(1, 3, ON_FIRST, OUTSIDE)
    both.forward(0)


def test_a_long_stack(pair):
    """Longer than both banks of memory, and than the offsets in time that are told apart."""
    both = pair("two objects far apart, a correction between, both ways", 40, size=256)
    both.prompt(1, 5, ON_FIRST)
    both.prompt(2, 30, AROUND_SECOND, ON_SECOND)
    both.forward(0)
    both.prompt(1, 18, ON_FIRST, OUTSIDE)
    both.forward(0)
    both.backward(39)


@pytest.mark.parametrize(("frames", "size"), [(1, 512), (3, 1024), (10, 512)])
def test_lengths(pair, frames, size):
    """The number of frames is part of a pointer's encoding in time, up to 16."""
    both = pair("one object, forward and backward", frames, size=size)
    both.prompt(1, frames // 3, ON_FIRST)
    both.forward(frames // 3)
    if frames > 1:
        both.backward(frames - 1)


def test_three_objects_and_a_backward_pass_first(pair):
    both = pair("three objects, backward, corrections, backward, forward")
    both.prompt(1, 4, ON_FIRST)
    both.prompt(2, 2, AROUND_SECOND)
    both.prompt(3, 3, disc(60, 70, 12))
    both.backward(5)
    both.prompt(1, 5, ON_FIRST, OUTSIDE)
    both.prompt(2, 5, disc(50, 60, 20))
    both.backward(5)
    both.forward(0)


def test_an_object_added_after_tracking(pair):
    both = pair("an object added after tracking")
    both.prompt(1, 2, ON_FIRST)
    both.forward(0)
    both.prompt(2, 4, AROUND_SECOND, ON_SECOND)
    both.forward(0)
    both.prompt(3, 5, ON_SECOND)
    both.backward(5)


def test_prompts_in_the_future(pair):
    both = pair("prompts in the future")
    both.prompt(1, 4, ON_FIRST)
    both.prompt(1, 5, ON_FIRST, OUTSIDE)
    both.forward(0)
    both.prompt(1, 1, ON_FIRST, OUTSIDE)
    both.backward(5)


@pytest.mark.parametrize("variant", ["sam2_tiny", "sam2.1_tiny"])
def test_absent_objects(pair, variant):
    both = pair("objects that come and go", variant=variant, absences=True)
    both.prompt(1, 2, ON_FIRST)
    both.prompt(2, 4, AROUND_SECOND, ON_SECOND)
    both.prompt(3, 0, disc(60, 90, 18))
    both.forward(0)
    both.prompt(1, 5, ON_FIRST, OUTSIDE)
    both.backward(5)
    assert both.seen == {True, False}


def test_masks(pair):
    both = pair("masks, one of them on a tracked frame")
    both.prompt(1, 0, disc(30, 40, 14))
    both.prompt(2, 3, MaskPrompt(disc(60, 80, 25).mask & ~disc(60, 80, 12).mask))
    both.forward(0)
    both.prompt(1, 4, disc(38, 42, 10))
    both.forward(0)


# gains at which some of these prompts' masks are stable enough to be kept
@pytest.mark.parametrize(("variant", "gain"), [("sam2_tiny", 0.15), ("sam2.1_tiny", 0.3)])
def test_the_stability_fallback(pair, variant, gain, monkeypatch):
    """A faint mask gives way to a candidate, yet the pointer stays that of the single mask."""
    both = pair("the stability fallback, taken by some prompts", variant=variant)
    taken = []
    single = Decoded.single

    def watched(decoded, stability_fallback):
        chosen = single(decoded, stability_fallback)
        taken.append(bool((chosen.logits[:, 0] != decoded.logits[:, 0]).any()))
        return chosen

    monkeypatch.setattr(Decoded, "single", watched)
    heads = (
        both.ours.model.network.mask_decoder.mask_heads[0],
        both.theirs.model.sam_mask_decoder.output_hypernetworks_mlps[0],
    )
    with scaled(gain, *(head.layers[-1] for head in heads)):
        both.prompt(1, 1, ON_FIRST, OUTSIDE)
        both.prompt(2, 1, AROUND_SECOND, ON_SECOND)
        both.prompt(3, 1, ON_FIRST, ON_SECOND)
        assert set(taken) == {True, False}
        both.forward(0)
        both.prompt(2, 3, AROUND_SECOND, OUTSIDE)
        both.backward(5)


def test_a_pass_cut_short(pair):
    both = pair("a pass cut short, a correction, and on")
    both.prompt(1, 1, ON_FIRST)
    both.forward(0, stop=4)
    both.prompt(1, 4, ON_FIRST, OUTSIDE)
    both.forward(3, stop=5)
    both.backward(5, stop=2)


def test_both_ways_from_each_objects_own_prompts(pair):
    """The published predictor has one range for all objects: here each gets a predictor."""
    both = pair("two objects, each both ways from its own prompts")
    alone = pair("two objects, each both ways from its own prompts")
    alone.ours = both.ours
    both.prompt(1, 2, ON_FIRST)
    alone.prompt(2, 5, AROUND_SECOND)
    wanted: dict[int, dict[int, np.ndarray]] = {}
    for published, start in ((both.theirs, 2), (alone.theirs, 5)):
        for reverse in (False, True):
            for frame, logits in published.propagate(start, reverse):
                wanted.setdefault(frame, {}).update(logits)
    assert sum(map(len, wanted.values())) == 12
    for _ in both.ours.propagate("both"):
        pass
    for frame, logits in wanted.items():
        assert set(both.ours.result(frame).object_ids) == set(logits)
        both.compare(frame, logits)

"""Prompts that are refined, corrected and taken back, against sam2's video predictor."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam2 import BoxPrompt, MaskPrompt, PointPrompt

pytestmark = pytest.mark.parity

FIRST = PointPrompt((34, 40))
SECOND = PointPrompt((60, 78))
OUTSIDE = PointPrompt((80, 10), positive=False)
BETWEEN = PointPrompt((50, 60), positive=False)
BOX = BoxPrompt((40, 60, 80, 98))


def test_points_one_by_one(pair):
    both = pair("points one by one, then a pass")
    both.prompt(1, 2, FIRST)
    both.prompt(1, 2, FIRST, add=(OUTSIDE,))
    both.prompt(1, 2, FIRST, OUTSIDE, add=(BETWEEN,))
    both.prompt(2, 2, BOX)
    both.prompt(2, 2, BOX, add=(OUTSIDE,))
    both.forward(0)


def test_points_in_one_go_and_one_by_one_differ_alike(pair):
    """The mask so far is fed back, so the way matters; to both predictors equally."""
    at_once, one_by_one = pair("points in one go"), pair("points one by one")
    at_once.prompt(1, 2, FIRST, OUTSIDE)
    one_by_one.prompt(1, 2, FIRST)
    one_by_one.prompt(1, 2, FIRST, add=(OUTSIDE,))
    masks = [both.ours.result(2).masks for both in (at_once, one_by_one)]
    assert (masks[0] != masks[1]).any()


def test_a_prompted_frame_is_refined_after_a_pass(pair):
    both = pair("a prompted frame refined after a pass")
    both.prompt(1, 2, FIRST)
    both.forward(0)
    both.prompt(1, 2, FIRST, add=(OUTSIDE,))
    both.forward(0)
    both.backward(5)
    both.prompt(1, 2, FIRST, OUTSIDE, add=(BETWEEN,))
    both.backward(5)


def test_corrections_with_passes_between(pair):
    both = pair("corrections of two objects, a pass after each")
    both.prompt(1, 0, FIRST)
    both.prompt(2, 0, BOX)
    both.forward(0)
    both.prompt(1, 3, FIRST, OUTSIDE)
    both.prompt(2, 5, SECOND)
    both.forward(0)
    both.prompt(1, 3, FIRST, OUTSIDE, add=(BETWEEN,))
    both.prompt(2, 4, BOX)
    both.forward(3)


def test_points_on_a_given_mask(pair):
    both = pair("points on a given mask")
    rows, columns = np.mgrid[:96, :120]
    mask = MaskPrompt((rows - 30) ** 2 + (columns - 40) ** 2 < 14**2)
    both.prompt(1, 1, mask)
    both.prompt(1, 1, mask, add=(FIRST, OUTSIDE))
    both.forward(0)


def test_an_object_is_removed(pair):
    both = pair("an object removed")
    for object_id, frame, prompt in ((1, 1, FIRST), (2, 3, BOX), (3, 4, SECOND)):
        both.prompt(object_id, frame, prompt)
    both.forward(0)
    both.remove_object(2)
    both.prompt(3, 5, SECOND, OUTSIDE)
    both.forward(0)


def test_a_prompt_is_removed_after_a_pass(pair):
    both = pair("a prompt removed after a pass")
    both.prompt(1, 1, FIRST)
    both.prompt(1, 4, SECOND)
    both.prompt(2, 3, BOX)
    both.forward(0)
    both.remove_prompts(1, 4)
    both.forward(0)
    both.prompt(1, 4, FIRST)
    both.backward(5)


def test_a_prompt_is_removed_before_a_pass(pair):
    both = pair("a prompt removed before any pass")
    both.prompt(1, 1, FIRST)
    both.prompt(1, 4, SECOND)
    both.remove_prompts(1, 4)
    both.forward(0)


def test_a_correction_is_removed_after_a_pass(pair):
    both = pair("a correction removed")
    both.prompt(1, 1, FIRST)
    both.forward(0)
    both.prompt(1, 4, FIRST, OUTSIDE)
    both.forward(0)
    both.remove_prompts(1, 4)
    both.prompt(1, 4, FIRST)
    both.forward(0)


def test_two_corrections_without_a_pass_between(pair):
    both = pair("two corrections without a pass between")
    both.prompt(1, 2, FIRST)
    both.forward(0)
    both.prompt(1, 4, FIRST)
    both.prompt(1, 5, FIRST, OUTSIDE)
    both.forward(0)


def test_a_correction_one_by_one(pair):
    both = pair("a correction, one click after the other")
    both.prompt(1, 2, FIRST)
    both.forward(0)
    both.prompt(1, 5, FIRST)
    both.prompt(1, 5, FIRST, add=(OUTSIDE,))
    both.forward(0)


def test_a_correction_is_removed_at_once(pair):
    both = pair("a correction removed before a pass")
    both.prompt(1, 1, FIRST)
    both.forward(0)
    both.prompt(1, 4, FIRST, OUTSIDE)
    both.remove_prompts(1, 4)
    both.forward(0)

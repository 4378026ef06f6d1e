from __future__ import annotations

import numpy as np
import pytest

from napari_sam2 import BoxPrompt, MaskPrompt, PointPrompt
from napari_sam2.inference.prompts import check_prompts

SHAPE = (20, 30)


def test_what_is_right_passes():
    prompts = (PointPrompt((0.0, 29.4)), PointPrompt((-0.4, 3.0), positive=False))
    assert check_prompts(prompts, SHAPE) == prompts


def test_box_corners_are_ordered_and_clipped():
    (box,) = check_prompts([BoxPrompt((15, 40, 2, -7))], SHAPE)
    assert box.box == (2.0, -0.5, 15.0, 29.5)


def test_mask_of_any_dtype_becomes_bool():
    mask = np.zeros(SHAPE, dtype=np.uint16)
    mask[3, 4] = 7
    (checked,) = check_prompts([MaskPrompt(mask)], SHAPE)
    assert checked.mask.dtype == bool
    assert checked.mask.sum() == 1


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ([], "no prompt"),
        ([PointPrompt((20, 5))], "outside the plane"),
        ([PointPrompt((5, -1))], "outside the plane"),
        ([PointPrompt((float("nan"), 5))], "not finite"),
        ([BoxPrompt((30, 0, 40, 10))], "outside the plane"),
        ([BoxPrompt((5, 5, 5, 10))], "no area"),
        ([BoxPrompt((5, 5, 10, float("inf")))], "finite"),
        ([BoxPrompt((1, 1, 5, 5)), BoxPrompt((2, 2, 6, 6))], "2 boxes"),
        ([MaskPrompt(np.ones((3, 3), dtype=bool))], "must be equal"),
        ([MaskPrompt(np.zeros(SHAPE, dtype=bool))], "empty"),
        ([MaskPrompt(np.ones(SHAPE, dtype=bool)), PointPrompt((1, 1))], "stands alone"),
    ],
)
def test_what_is_wrong_is_named(prompts, message):
    with pytest.raises(ValueError, match=message):
        check_prompts(prompts, SHAPE)


def test_something_else_is_no_prompt():
    with pytest.raises(TypeError, match="tuple is not a prompt"):
        check_prompts([(3, 4)], SHAPE)

from __future__ import annotations

import numpy as np
import pytest

from napari_sam2 import BoxPrompt, MaskPrompt, PointPrompt, PolygonPrompt, ScribblePrompt
from napari_sam2.inference.prompts import check_prompts, expand_prompts

SHAPE = (20, 30)
SQUARE = ((1.5, 2.5), (1.5, 5.5), (4.5, 5.5), (4.5, 2.5))
STROKE = ((3.0, 4.0), (3.0, 20.0))


def square():
    mask = np.zeros(SHAPE, dtype=bool)
    mask[2:5, 3:6] = True
    return mask


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


def test_masks_are_equal_where_they_say_the_same():
    assert MaskPrompt(square()) == MaskPrompt(square())
    assert MaskPrompt(square()) != MaskPrompt(~square())
    assert MaskPrompt(square()) != MaskPrompt(np.pad(square(), 1)[1:, 1:])
    assert MaskPrompt(square()) != PointPrompt((1, 1))


def test_drawn_prompts_become_numbers():
    drawn = [PolygonPrompt(np.array(SQUARE)), ScribblePrompt([[3, 4], [3, 20]], positive=False)]
    assert check_prompts(drawn, SHAPE) == (PolygonPrompt(SQUARE), ScribblePrompt(STROKE, False))


def test_every_kind_together_is_points_a_box_and_one_mask():
    other = np.roll(square(), 10, axis=1)
    prompts = (
        PolygonPrompt(SQUARE),
        PointPrompt((1.0, 1.0)),
        BoxPrompt((1.0, 2.0, 6.0, 7.0)),
        MaskPrompt(other),
        ScribblePrompt(STROKE, positive=False),
    )
    assert check_prompts(prompts, SHAPE) == prompts
    assert expand_prompts(prompts, SHAPE) == (
        PointPrompt((1.0, 1.0)),
        BoxPrompt((1.0, 2.0, 6.0, 7.0)),
        *(PointPrompt((3.0, column), positive=False) for column in (6.0, 10.0, 14.0, 18.0)),
        MaskPrompt(square() | other),
    )


def test_a_polygon_is_cut_off_at_the_edge():
    (mask,) = expand_prompts([PolygonPrompt(((-9, -9), (-9, 4.5), (2.5, 4.5), (2.5, -9)))], SHAPE)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[:3, :5] = True
    assert mask == MaskPrompt(expected)


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
        ([PolygonPrompt(SQUARE[:2])], "covers no pixel"),
        ([PolygonPrompt(((5, 40), (9, 40), (9, 50)))], "covers no pixel of the plane of 20 x 30"),
        ([PolygonPrompt(((5.1, 4.1), (5.1, 4.6), (5.6, 4.6)))], "covers no pixel"),
        ([PolygonPrompt(())], "polygon is not a sequence"),
        ([PolygonPrompt(((1, 2), (float("nan"), 3), (5, 5)))], "finite"),
        ([ScribblePrompt(((30, 5), (40, 9)))], "lies outside"),
        ([ScribblePrompt((3, 4))], "scribble is not a sequence"),
    ],
)
def test_what_is_wrong_is_named(prompts, message):
    with pytest.raises(ValueError, match=message):
        check_prompts(prompts, SHAPE)


def test_something_else_is_no_prompt():
    with pytest.raises(TypeError, match="tuple is not a prompt"):
        check_prompts([(3, 4)], SHAPE)

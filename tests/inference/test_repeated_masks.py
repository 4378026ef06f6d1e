from __future__ import annotations

import numpy as np
import pytest

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.inference.masks import NO_MASK, repeated_masks


def square(row, column, side, logit=3.0):
    return MaskCrop(np.full((side, side), logit, np.float16), (row, column))


@pytest.mark.parametrize(
    ("crops", "scores", "repeated"),
    [
        ([], [], set()),
        ([square(0, 0, 10), square(1, 1, 10)], [0.8, 0.9], {0}),
        ([square(0, 0, 10), square(1, 1, 10)], [0.9, 0.8], {1}),
        ([square(0, 0, 10), square(0, 0, 10)], [0.9, 0.9], {1}),  # the first is kept
        ([square(0, 0, 10), square(0, 5, 10)], [0.8, 0.9], set()),  # a third of the union
        ([square(0, 0, 20), square(5, 5, 8)], [0.8, 0.9], set()),  # a nucleus in its cell
        ([square(0, 0, 10), square(0, 40, 10)], [0.8, 0.9], set()),
        ([NO_MASK, square(0, 0, 10), NO_MASK], [0.9, 0.8, 0.9], set()),
        ([square(0, 0, 10)] * 3, [0.7, 0.9, 0.8], {0, 2}),
        # what only another repeated one repeats is kept
        ([square(0, 0, 10), square(0, 4, 10), square(0, 8, 10)], [0.9, 0.8, 0.7], {1}),
        # the box is no mask
        ([square(0, 0, 10, -1.0), square(0, 0, 10)], [0.9, 0.8], set()),
    ],
)
def test_of_masks_that_are_nearly_equal_the_best_is_kept(crops, scores, repeated):
    assert repeated_masks(crops, lambda index: scores[index]) == repeated

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sam2.inference.masks import (
    bounding_box,
    crop_of,
    intersection_over_union,
    label_numbers,
)
from napari_sam2.inference.results import FrameResult
from napari_sam2.inference.video.answers import FILLED_LOGIT, fill_holes

logit_planes = hnp.arrays(
    np.float32, (6, 7), elements=st.floats(-2000, 2000, width=32, allow_subnormal=False)
)


@given(logit_planes)
def test_a_crop_gives_back_the_mask(logits):
    crop = crop_of(logits)
    result = FrameResult(0, (6, 7), (3,), (crop,), np.zeros(1), np.ones(1, bool))
    np.testing.assert_array_equal(result.masks[0], logits > 0)
    np.testing.assert_array_equal(result.labels(), 3 * (logits > 0))


def test_the_larger_logit_wins_where_objects_overlap():
    first, second = np.full((2, 4), 2.0, np.float32), np.full((2, 4), 1.0, np.float32)
    second[:, 3] = 5.0
    first[0, 0] = -1.0
    crops = (crop_of(first), crop_of(second))
    result = FrameResult(0, (2, 4), (7, 9), crops, np.zeros(2), np.ones(2, bool))
    np.testing.assert_array_equal(result.labels(), [[9, 7, 7, 9], [7, 7, 7, 9]])


def test_intersection_over_union():
    mask = np.zeros((4, 4), bool)
    mask[:2] = True
    assert intersection_over_union(mask, mask) == 1
    assert intersection_over_union(mask, ~mask) == 0
    assert intersection_over_union(mask, np.ones((4, 4), bool)) == 0.5
    assert intersection_over_union(np.zeros(3, bool), np.zeros(3, bool)) == 1


def test_bounding_box_of_nothing_is_none():
    assert bounding_box(np.zeros((3, 3), bool)) is None


def test_small_holes_are_filled_and_larger_ones_are_not():
    logits = torch.full((1, 9, 9), 3.0)
    logits[0, 1, 1] = -1.0
    logits[0, 2, 2] = -1.0  # the same hole, across the corner
    logits[0, 5:8, 5:8] = -1.0
    filled = fill_holes(logits.clone(), 2)
    assert (filled[0, [1, 2], [1, 2]] == FILLED_LOGIT).all()
    assert (filled[0, 5:8, 5:8] == -1.0).all()
    torch.testing.assert_close(fill_holes(logits.clone(), 1), logits)
    torch.testing.assert_close(fill_holes(logits.clone(), 0), logits)


def test_large_labels_are_found_without_a_table_of_all_numbers():
    labels = np.zeros((2, 3, 4), np.uint32)
    labels[0, 0, 0], labels[1, 2] = 7, 2**32 - 1
    assert label_numbers(labels).tolist() == [7, 2**32 - 1]
    assert label_numbers(np.array([[-1, 0, 3]], np.int32)).tolist() == [3]

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sam2.inference.automatic.runs import RunMask
from napari_sam2.inference.masks import bounding_box

masks = hnp.arrays(bool, (5, 7))


@given(masks)
def test_a_mask_comes_back(mask):
    kept = RunMask.of(mask, mask.shape)
    np.testing.assert_array_equal(kept.mask(), mask)
    assert kept.area == mask.sum()
    if mask.any():
        assert kept.slices == bounding_box(mask)
        np.testing.assert_array_equal(kept.crop(), mask[bounding_box(mask)])


@given(masks, st.integers(0, 3), st.integers(0, 4))
def test_a_part_lies_where_it_was(part, row, column):
    plane = np.zeros((8, 11), bool)
    plane[row : row + 5, column : column + 7] = part
    np.testing.assert_array_equal(RunMask.of(part, plane.shape, (row, column)).mask(), plane)


@given(masks, masks)
def test_intersections(first, second):
    kept = [RunMask.of(mask, mask.shape) for mask in (first, second)]
    assert kept[0].intersection(kept[1]) == (first & second).sum()
    assert kept[1].intersection(kept[0]) == (first & second).sum()


def test_memory_follows_the_outline():
    rows, columns = np.mgrid[:500, :500]
    disc = (rows - 250) ** 2 + (columns - 250) ** 2 < 200**2
    assert RunMask.of(disc, disc.shape).runs.nbytes < disc.nbytes / 30

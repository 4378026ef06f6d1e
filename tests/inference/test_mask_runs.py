"""Masks kept as run lengths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_sam2.inference.mask_runs import MaskRuns

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=9))


def pasted(runs, shape):
    plane = np.zeros(shape, dtype=bool)
    plane[runs.slices] = runs.expand()
    return plane


@given(masks, st.tuples(st.integers(0, 5), st.integers(0, 5)))
def test_a_mask_comes_back(mask, origin):
    runs = MaskRuns.of(mask, origin)
    plane = pasted(runs, (15, 15))
    wanted = np.zeros((15, 15), dtype=bool)
    wanted[origin[0] : origin[0] + mask.shape[0], origin[1] : origin[1] + mask.shape[1]] = mask
    np.testing.assert_array_equal(plane, wanted)
    assert runs.area == mask.sum()


@given(masks, masks, st.integers(0, 8))
def test_what_two_masks_share(first, second, shift):
    one, other = MaskRuns.of(first), MaskRuns.of(second, (shift, 0))
    shared = pasted(one, (20, 20)) & pasted(other, (20, 20))
    assert one.intersection(other) == other.intersection(one) == shared.sum()


def test_a_large_mask_takes_little_memory():
    rows, columns = np.ogrid[:2000, :2000]
    disc = (rows - 1000) ** 2 + (columns - 1000) ** 2 < 900**2
    runs = MaskRuns.of(disc)
    assert runs.changes.nbytes < 20_000
    assert runs.area == pytest.approx(np.pi * 900**2, rel=1e-3)

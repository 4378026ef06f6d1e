from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.draw import polygon2mask

from napari_sam2.inference.shapes import covers_a_pixel, points_along, polygon_mask

SHAPE = (20, 30)
# Off the pixel centres, on which the two could differ by the outline itself.
COORDINATES = st.integers(-6, 34).map(lambda value: value + 0.3)
POLYGONS = st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=8)


def test_a_square_holds_the_pixel_centres_inside():
    mask = polygon_mask([(2.5, 3.5), (2.5, 6.5), (5.5, 6.5), (5.5, 3.5)], SHAPE)
    expected = np.zeros(SHAPE, dtype=bool)
    expected[3:6, 4:7] = True
    np.testing.assert_array_equal(mask, expected)


def test_squares_side_by_side_share_no_pixel():
    left = polygon_mask([(2, 3), (2, 6), (5, 6), (5, 3)], SHAPE)
    right = polygon_mask([(2, 6), (2, 9), (5, 9), (5, 6)], SHAPE)
    assert left.sum() == right.sum() == 9
    assert not (left & right).any()


@given(POLYGONS)
@settings(deadline=None)
def test_polygons_are_those_of_skimage(vertices):
    # Moved apart a little, as where an outline touches itself each is free to choose.
    apart = np.array(vertices) + np.random.default_rng(0).uniform(-0.1, 0.1, (len(vertices), 2))
    mask = polygon_mask(apart, SHAPE)
    np.testing.assert_array_equal(mask, polygon2mask(SHAPE, apart))
    assert covers_a_pixel(apart, SHAPE) == mask.any()


def test_points_lie_evenly_along_the_whole_stroke():
    along = np.array(points_along([(2, 3), (2, 13), (12, 13), (12, 23)], SHAPE))
    assert len(along) == 7
    np.testing.assert_allclose(along[3], (7, 13))
    np.testing.assert_allclose(along[0], (2, 3 + 30 / 14))
    steps = np.abs(np.diff(along, axis=0)).sum(axis=1)
    np.testing.assert_allclose(steps, 30 / 7)


@pytest.mark.parametrize(
    ("path", "count"),
    [
        ([(5, 5)], 1),
        ([(5, 5), (5, 5)], 1),
        ([(5, 5), (5, 8)], 1),
        ([(5, 5), (5, 13)], 2),
        ([(1, 1), (1, 29), (19, 29), (19, 1)], 8),
        ([(5, 20), (5, 40)], 2),
        ([(-5, 5), (-9, 25)], 0),
    ],
)
def test_how_many_points(path, count):
    assert len(points_along(path, SHAPE)) == count

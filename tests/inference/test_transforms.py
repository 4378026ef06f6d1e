from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis.extra import numpy as hnp

from napari_sam2.inference.transforms import (
    MEAN,
    STD,
    Fit,
    checked_limits,
    contrast_limits_of,
    limits_of_parts,
    rescale,
    to_model_image,
    to_model_mask,
    to_model_points,
    to_plane_logits,
)
from napari_sam2.model.config import NANO, SAM1_VARIANTS

CPU = torch.device("cpu")


def stretched(shape, size):
    return Fit.of(NANO.with_image_size(size), shape)


DTYPES = hnp.unsigned_integer_dtypes() | hnp.integer_dtypes() | hnp.floating_dtypes(
    sizes=(32, 64)
) | hnp.boolean_dtypes()  # fmt: skip


@given(hnp.arrays(DTYPES, hnp.array_shapes(min_dims=2, max_dims=2)))
def test_any_plane_becomes_zero_to_one(plane):
    low, high = contrast_limits_of(plane)
    if not np.isfinite(high - low):
        return  # limits a double cannot span
    scaled = rescale(plane, (low, high))
    assert scaled.dtype == np.float32
    assert np.isfinite(scaled).all()
    assert scaled.min() >= 0
    assert scaled.max() <= 1


def test_limits_map_to_black_and_white():
    plane = np.array([[100.0, 200.0], [np.nan, np.inf]])
    np.testing.assert_allclose(rescale(plane, (100, 200)), [[0, 1], [0, 0]])


def test_large_integers_keep_their_differences():
    plane = np.array([[2**31, 2**31 + 10]], dtype=np.uint32)
    np.testing.assert_allclose(rescale(plane, (2**31, 2**31 + 10)), [[0, 1]])


@pytest.mark.parametrize(
    ("plane", "limits"),
    [
        (np.array([[10, 20]], dtype=np.uint8), (0, 255)),
        (np.array([[True, False]]), (0, 1)),
        (np.full((3, 3), np.nan), (0, 1)),
        (np.zeros((50, 50)), (0, 0)),
    ],
)
def test_default_limits(plane, limits):
    assert contrast_limits_of(plane) == limits


def test_a_sparse_plane_still_shows_its_spot():
    plane = np.zeros((100, 100), dtype=np.uint16)
    plane[3, 3] = 500
    assert contrast_limits_of(plane) == (0, 500)


def test_an_empty_sample_takes_the_extremes_of_everything():
    parts = [np.zeros((2, 2)), np.array([[np.nan, 3.0], [-1.0, np.inf]])]
    assert limits_of_parts(np.zeros(4), parts) == (-1.0, 3.0)
    assert limits_of_parts(np.full(4, np.nan), parts) == (-1.0, 3.0)
    assert limits_of_parts(np.zeros(4), []) == (0.0, 0.0)
    assert limits_of_parts(np.zeros(0, np.uint8), [np.ones(1, np.uint8)]) == (0.0, 255.0)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ((np.nan, 1), "two finite numbers"),
        ((0, np.inf), "two finite numbers"),
        ((255, 0), "the lower one first"),
        ((1, 2, 3), "Give two numbers"),
        (7, "Give two numbers"),
    ],
)
def test_limits_that_show_nothing_are_refused(limits, message):
    with pytest.raises(ValueError, match=message):
        checked_limits(limits)
    assert checked_limits(np.array([0, 255])) == (0.0, 255.0)


def test_points_are_x_first_and_half_a_pixel_on():
    points = to_model_points([(10, 40)], stretched((20, 80), 512), CPU)
    assert points.tolist() == [[256.5, 256.5]]
    points = to_model_points([(5, 40)], stretched((20, 80), 512), CPU)
    assert points.tolist() == [[256.5, 128.5]]


def test_grey_is_three_equal_channels_normalised():
    image = to_model_image(np.full((7, 9), 255, np.uint8), (0, 255), stretched((7, 9), 64), CPU)
    assert image.shape == (1, 3, 64, 64)
    for channel, mean, std in zip(image[0], MEAN, STD, strict=True):
        torch.testing.assert_close(channel, torch.full((64, 64), (1 - mean) / std))


def test_colours_keep_their_order():
    plane = np.zeros((8, 8, 3), np.uint8)
    plane[..., 0] = 255
    red, green, _ = to_model_image(plane, (0, 255), stretched(plane.shape[:2], 64), CPU)[0]
    assert red.min() > green.max()


def test_sam1_keeps_the_aspect_and_pads():
    fit = Fit.of(SAM1_VARIANTS["sam_vit_b"].with_image_size(64), (20, 80))
    assert fit.extent == (16, 64)
    image = to_model_image(np.full((20, 80), 255, np.uint8), (0, 255), fit, CPU)
    assert image.shape == (1, 3, 64, 64)
    assert (image[..., :16, :] != 0).all()
    assert (image[..., 16:, :] == 0).all()
    assert to_model_points([(10, 40)], fit, CPU).tolist() == [[32.5, 8.5]]
    mask = to_model_mask(np.ones((20, 80), bool), fit, CPU)
    assert mask.sum() == 16 * 64
    logits = torch.full((1, 1, 16, 16), -1.0)
    logits[..., :4, :8] = 1  # the left half of what the plane takes up
    plane = to_plane_logits(logits, fit)[0, 0] > 0
    assert plane.shape == (20, 80)
    assert plane[:15, :38].all()
    assert not plane[:, 42:].any()

from __future__ import annotations

import numpy as np
import pytest

from napari_sam2.training.evaluation import (
    clicks_on_largest_planes,
    label_overlaps,
    middle_of,
    segment_stack,
)


def test_the_middle_is_inside_also_at_the_edge_of_the_image():
    mask = np.zeros((20, 20), bool)
    mask[0:9, 11:20] = True
    assert middle_of(mask) == (4, 15)
    mask[2:8, 13:18] = False  # an open ring, whose centre is not its own
    row, column = (int(value) for value in middle_of(mask))
    assert mask[row, column]
    with pytest.raises(ValueError, match="empty"):
        middle_of(np.zeros((3, 3), bool))


def test_clicks_lie_on_the_largest_plane(discs):
    labels = discs[1].copy()
    labels[5:] = 0
    labels[2][labels[2] == 1] = 0
    labels[2, :3, :3] = 1  # an object in two parts: the click is on one of them
    clicks = clicks_on_largest_planes(labels)
    assert set(clicks) == {1, 2}
    for label, (frame, click) in clicks.items():
        row, column = (int(value) for value in click.position)
        assert labels[frame, row, column] == label
        areas = (labels == label).sum(axis=(1, 2))
        assert areas[frame] == areas.max()


def test_overlaps():
    labels = np.array([[1, 1, 2, 2, 0]])
    found = np.array([[1, 0, 2, 2, 3]])
    assert label_overlaps(labels, found) == {1: 0.5, 2: 1.0}


def test_nano_follows_the_discs(nano, discs):
    image, labels = discs
    found = segment_stack(nano, image, clicks_on_largest_planes(labels))
    overlaps = label_overlaps(labels, found)
    assert min(overlaps.values()) > 0.7

from __future__ import annotations

import numpy as np
import pytest

from napari_sam2 import LargeImagePredictor, PointPrompt
from napari_sam2.training.data import LabelledStack, Planes
from napari_sam2.training.evaluation import (
    clicks_on_largest_planes,
    label_overlaps,
    middle_of,
    next_click,
    overlap_of_box,
    overlaps_by_clicks,
    segment_stack,
    stack_overlaps,
)
from napari_sam2.training.scores import Score, table_of


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
    image, labels = (each[::2] for each in discs)
    found = segment_stack(nano, image, clicks_on_largest_planes(labels))
    overlaps = label_overlaps(labels, found)
    assert min(overlaps.values()) > 0.7


def test_a_stack_that_is_never_whole_in_memory_scores_the_same(nano, discs):
    image, labels = (each[:3] for each in discs)
    clicks = clicks_on_largest_planes(labels)
    whole = label_overlaps(labels, segment_stack(nano, image, clicks))
    planes = (Planes(array, "zyx") for array in (image, labels * np.uint8(9)))
    stack = LabelledStack("discs", "discs", *planes, (0.0, 255.0), np.array([9, 18]))
    assert clicks_on_largest_planes(stack.label_planes) == clicks
    assert stack_overlaps(nano, stack, clicks, 2) == pytest.approx(whole)


def test_the_table_has_a_line_for_each_source():
    scores = [Score("b", "one", 0, 1, "1 click", 0.5), Score("b", "one", 0, 2, "1 click", 0.7),
              Score("a", "two", 3, 1, "whole stack", 0.25)]  # fmt: skip
    _, first, second = table_of(scores)
    assert first.split() == ["b", "2", "0.600", "-", "-", "-", "-", "-"]
    assert second.split() == ["a", "1", "-", "-", "-", "-", "-", "0.250"]


def test_the_next_click_lies_in_the_middle_of_the_largest_error():
    truth = np.zeros((30, 30), bool)
    truth[5:15, 5:15] = True
    assert next_click(truth, truth) is None
    found = np.zeros_like(truth)
    found[5:15, 5:13] = True  # a strip of 10 x 2 missed ...
    found[20:27, 20:27] = True  # ... and a square of 7 x 7 taken
    assert next_click(truth, found) == PointPrompt((23, 23), positive=False)
    found[20:27, 20:27] = False
    click = next_click(truth, found)
    assert click.positive
    assert click.position[1] in (13, 14)


def test_clicks_and_boxes_on_a_disc(nano, discs):
    image, labels = discs
    predictor = LargeImagePredictor(nano, image[0], store=None)
    overlaps = overlaps_by_clicks(predictor, labels[0] == 1, clicks=3)
    assert len(overlaps) == 3
    assert overlaps[0] > 0.7
    assert 0 < overlap_of_box(predictor, labels[0] == 1) <= 1

"""The choice among masks that a generator found."""

from __future__ import annotations

import numpy as np
import pytest

from napari_sam2.inference.candidates import Candidate, Candidates, without_specks
from napari_sam2.inference.mask_runs import MaskRuns

SHAPE = (40, 60)
WHOLE = slice(0, 40), slice(0, 60)
CROP = slice(0, 25), slice(0, 35)


def box(low_row, low_column, high_row, high_column):
    mask = np.zeros(SHAPE, dtype=bool)
    mask[low_row:high_row, low_column:high_column] = True
    return mask


def candidate(mask, score=0.9, stability=1.0, window=WHOLE):
    return Candidate(MaskRuns.of(mask), score, stability, (0.0, 0.0), window)


def choose(*found, **thresholds):
    return list(Candidates(SHAPE, found).choose(**thresholds).masks)


def test_thresholds():
    low, unstable, good = (
        candidate(box(0, 0, 9, 9), score=0.8),
        candidate(box(10, 10, 19, 19), stability=0.94),
        candidate(box(20, 20, 29, 29), score=0.81, stability=0.95),
    )
    assert choose(low, unstable, good) == [good]
    assert choose(low, unstable, good, score=0.7, stability=0.9) == [unstable, good, low]


def test_of_masks_that_overlap_the_best_stays():
    first, second = candidate(box(0, 0, 20, 20), 0.85), candidate(box(1, 0, 20, 20), 0.95)
    other = candidate(box(1, 30, 20, 50), 0.9)
    assert choose(first, other, second) == [second, other]
    assert choose(first, other, second, overlap=0.96) == [second, other, first]


def test_a_chain_of_overlaps_is_not_followed():
    # the second falls to the first; the third overlaps the second alone
    chain = [candidate(box(0, n, 20, n + 20), 0.95 - 0.01 * n) for n in (0, 3, 6)]
    assert choose(*chain, overlap=0.7) == [chain[0], chain[2]]


def test_boxes_may_overlap_where_masks_do_not():
    rows, columns = np.ogrid[:40, :60]
    one = candidate(abs(rows - columns) < 3, 0.9)
    other = candidate((abs(39 - rows - columns) < 3) & (columns < 42), 0.95)
    assert choose(one, other) == [other, one]
    assert choose(one, other, overlap_of="boxes") == [other]


def test_a_smaller_crop_is_preferred_to_the_whole_plane():
    whole, crop = candidate(box(2, 2, 12, 12), 0.99), candidate(box(2, 2, 12, 12), 0.9, window=CROP)
    assert choose(whole, crop) == [crop]


def test_specks_and_holes_go():
    mask = box(5, 5, 25, 25)
    mask[10:12, 10:12] = False  # a hole of 4
    mask[5, 5] = False  # at the edge of the box, hence no hole
    mask[30:33, 30:33] = True  # a speck of 9
    wanted = box(5, 5, 25, 25)
    wanted[5, 5] = False
    (found,) = choose(candidate(mask), smallest=10)
    np.testing.assert_array_equal(Candidates(SHAPE, (found,)).labels() > 0, wanted)
    (found,) = choose(candidate(mask), smallest=5)
    assert found.mask.area == wanted.sum() + 9
    assert choose(candidate(box(0, 0, 3, 3)), smallest=10) == []
    empty = MaskRuns.of(np.zeros(SHAPE, dtype=bool))
    assert without_specks(empty, 5) is empty


def test_labels_show_the_smaller_mask_on_top():
    large, small, equal = (
        candidate(box(0, 0, 20, 20), 0.9),
        candidate(box(5, 5, 10, 10), 0.85),
        candidate(box(15, 15, 35, 35), 0.95),
    )
    labels = Candidates(SHAPE, (equal, large, small)).labels()
    assert labels.dtype == np.uint32
    assert labels[7, 7] == 3
    assert labels[2, 2] == 2
    assert labels[30, 30] == 1
    assert labels[17, 17] == 2  # of equal area: the later one
    assert labels[39, 59] == 0
    assert not Candidates(SHAPE, ()).labels().any()


@pytest.mark.parametrize("overlap_of", ["masks", "boxes"])
def test_nothing_is_chosen_from_nothing(overlap_of):
    assert choose(overlap_of=overlap_of) == []

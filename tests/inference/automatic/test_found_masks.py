from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from napari_sam2.inference.automatic.found_masks import (
    Candidates,
    FoundMask,
    FoundMasks,
    Thresholds,
)
from napari_sam2.inference.automatic.runs import RunMask
from napari_sam2.inference.masks import intersection_over_union

SHAPE = (30, 40)
WHOLE = (0, 0, 29, 39)
LOW = Thresholds(0.1, 0.2)


def rectangle(row_min, col_min, row_max, col_max):
    """A mask that includes its last row and column."""
    mask = np.zeros(SHAPE, bool)
    mask[row_min : row_max + 1, col_min : col_max + 1] = True
    return mask


def found(mask, score=0.9, stability=0.99, crop=WHOLE):
    return FoundMask(RunMask.of(mask, mask.shape), score, stability, (1.0, 2.0), crop)


def candidates(*masks):
    shape = masks[0].runs.shape if masks else SHAPE
    return Candidates(shape, masks, len(masks), len(masks), LOW, Thresholds(0.8, 0.95))


def scores(chosen):
    return [mask.score for mask in chosen]


def test_thresholds_and_order():
    places = [rectangle(0, 5 * n, 3, 5 * n + 3) for n in range(5)]
    all_of_them = candidates(
        found(places[0], 0.85, 0.95),
        found(places[1], 0.95, 0.97),
        found(places[2], 0.8, 0.99),  # not above the threshold
        found(places[3], 0.9, 0.94),  # below it
    )
    assert scores(all_of_them.choose()) == [0.95, 0.85]
    assert scores(all_of_them.choose(0.5, 0.5)) == [0.95, 0.9, 0.85, 0.8]
    assert scores(all_of_them.choose(stability_threshold=0.98)) == []
    assert all_of_them.choose()[0].box == (0, 5, 3, 8)


def test_of_the_same_object_the_best_mask_stays():
    kept = candidates(
        found(rectangle(0, 0, 9, 9), 0.85),
        found(rectangle(0, 0, 9, 10), 0.95),
        found(rectangle(20, 20, 25, 25), 0.9),
    ).choose()
    assert scores(kept) == [0.95, 0.9]


def test_a_mask_that_was_taken_away_takes_none_away():
    row = [found(rectangle(0, 2 * n, 9, 2 * n + 9), (0.95, 0.94, 0.93)[n]) for n in range(3)]
    # neighbours have an IoU of 0.67, the first and the last of 0.43
    assert scores(candidates(*row).choose(overlap_threshold=0.5)) == [0.95, 0.93]
    assert len(candidates(*row).choose(overlap_threshold=0.4)) == 1
    assert len(candidates(*row).choose(overlap_threshold=0.7)) == 3


@pytest.mark.parametrize(("overlap", "count"), [(0.5, 2), (0.49, 1)])
def test_an_overlap_of_just_the_threshold_is_allowed(overlap, count):
    pair = found(rectangle(0, 0, 3, 3), 0.9), found(rectangle(0, 0, 1, 3), 0.85)
    assert len(candidates(*pair).choose(overlap_threshold=overlap)) == count


def test_masks_aslant_differ_although_their_boxes_do_not():
    lower = np.tri(*SHAPE, dtype=bool)[:, :30]
    mask = np.zeros(SHAPE, bool)
    mask[:, :30] = lower
    other = np.zeros(SHAPE, bool)
    other[:, :30] = ~lower
    other[29, 0] = other[0, 29] = True
    pair = candidates(found(mask, 0.9), found(other, 0.85))
    assert scores(pair.choose()) == [0.9, 0.85]
    assert scores(pair.choose(suppress="boxes")) == [0.9]


def test_the_mask_of_a_smaller_crop_is_preferred():
    whole = found(rectangle(2, 2, 8, 8), 0.99)
    crop = found(rectangle(2, 2, 8, 8), 0.85, crop=(0, 0, 14, 19))
    elsewhere = found(rectangle(20, 20, 25, 25), 0.9)
    assert scores(candidates(whole, crop, elsewhere).choose()) == [0.9, 0.85]


@given(
    hnp.arrays(bool, (8, 4, 5)),
    st.lists(st.integers(85, 99), min_size=8, max_size=8, unique=True),
    st.sampled_from([0.0, 0.2, 0.5, 1.0]),
)
def test_suppression_is_that_of_the_definition(masks, percent, overlap):
    given_masks = [
        found(mask, score / 100, crop=(0, 0, 3, 4))
        for mask, score in zip(masks, percent, strict=True)
        if mask.any()
    ]
    wanted = []
    for each in sorted(given_masks, key=lambda each: -each.score):
        own = each.runs.mask()
        if all(intersection_over_union(own, other.runs.mask()) <= overlap for other in wanted):
            wanted.append(each)
    assert list(candidates(*given_masks).choose(overlap_threshold=overlap)) == wanted


def test_what_better_masks_leave_of_a_mask_may_be_too_small():
    better, worse = rectangle(5, 0, 8, 25), rectangle(9, 5, 20, 20)
    worse[2:9, 10] = True  # a tip on its far side
    found_both = candidates(found(better, 0.95), found(worse, 0.9))
    assert found_both.choose().labels()[3, 10] == 2
    labels = found_both.choose(smallest=20).labels()
    assert labels[3, 10] == 0
    assert labels[15, 10] == 2


def test_small_regions():
    mask = rectangle(5, 5, 20, 20)
    mask[7, 7] = mask[8, 8] = False  # one hole of two pixels, across the corner
    mask[12:15, 12:15] = False
    mask[25, 25:28] = True
    only = candidates(found(mask))
    (cleaned,) = only.choose(smallest=4)
    wanted = rectangle(5, 5, 20, 20)
    wanted[12:15, 12:15] = False
    np.testing.assert_array_equal(cleaned.runs.mask(), wanted)
    assert cleaned.box == (5, 5, 20, 20)
    (untouched,) = only.choose(smallest=2)
    assert untouched is only.masks[0]
    (filled,) = only.choose(smallest=10)
    np.testing.assert_array_equal(filled.runs.mask(), rectangle(5, 5, 20, 20))
    assert len(only.choose(smallest=257)) == 0


def test_what_lies_outside_is_no_hole():
    hook = rectangle(5, 5, 10, 10)
    hook[5:10, 7] = False  # joined to the outside at the top
    (kept,) = candidates(found(hook)).choose(smallest=20)
    np.testing.assert_array_equal(kept.runs.mask(), hook)
    at_the_edge = rectangle(0, 5, 5, 10)
    at_the_edge[0:4, 7] = False  # closed by the edge of the plane
    (kept,) = candidates(found(at_the_edge)).choose(smallest=20)
    np.testing.assert_array_equal(kept.runs.mask(), rectangle(0, 5, 5, 10))


def test_a_cleaned_mask_yields_to_one_that_was_clean():
    holed = rectangle(5, 5, 12, 12)
    holed[6:11, 6:11] = False
    pair = candidates(found(holed, 0.95), found(rectangle(5, 5, 12, 12), 0.85))
    assert scores(pair.choose()) == [0.95, 0.85]
    assert scores(pair.choose(smallest=30)) == [0.85]


def test_labels_do_not_overlap():
    better = found(rectangle(0, 0, 9, 9), 0.95)
    worse = found(rectangle(0, 5, 9, 18), 0.9)
    hidden = found(rectangle(0, 8, 9, 12), 0.85)  # all of it under the others
    chosen = candidates(worse, hidden, better).choose()
    assert scores(chosen) == [0.95, 0.9, 0.85]
    labels = chosen.labels()
    assert (labels.shape, labels.dtype) == (SHAPE, np.uint32)
    np.testing.assert_array_equal(labels == 1, better.runs.mask())
    np.testing.assert_array_equal(labels == 2, worse.runs.mask() & ~better.runs.mask())
    assert labels.max() == 2


def test_the_part_of_a_mask_that_shows_decides():
    first = found(rectangle(0, 0, 9, 9), 0.95)
    for last_column, shown in ((18, False), (20, True)):  # 9 and 11 of its columns are free
        second = found(rectangle(0, 0, 9, last_column), 0.9)
        labels = FoundMasks(SHAPE, (first, second)).labels()
        assert (2 in labels) == shown


def test_nothing_is_found():
    nothing = candidates().choose()
    assert len(nothing) == 0
    assert list(nothing) == []
    np.testing.assert_array_equal(nothing.labels(), np.zeros(SHAPE))


def test_the_usual_thresholds_never_lie_below_the_floors():
    strict = replace(candidates(found(rectangle(0, 0, 3, 3), 0.99)), floors=Thresholds(0.9, 0.96))
    assert len(strict.choose()) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"score_threshold": 0.05}, "below 0.1 were not kept.*score_floor"),
        ({"stability_threshold": 0.1}, "below 0.2 were not kept.*stability_floor"),
        ({"score_threshold": float("nan")}, "score_threshold is nan"),
        ({"overlap_threshold": 1.5}, "from 0 to 1"),
        ({"smallest": -1}, "number of pixels"),
        ({"suppress": "circles"}, "'masks' or 'boxes'"),
    ],
)
def test_mistakes_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        candidates().choose(**options)

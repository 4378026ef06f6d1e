"""Whole stacks, found frame by frame; what finds the objects of a frame is mostly a stand-in."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import zarr
from scipy.optimize import linear_sum_assignment

from napari_sam2 import MaskGenerator, StackSegmenter, ThroughDepth
from napari_sam2.inference.automatic import stack_segmenter
from napari_sam2.inference.automatic.detections import Detections
from napari_sam2.inference.errors import InputError
from napari_sam2.inference.frames import FrameSource
from napari_sam2.sample_data import generated_zstack

SHAPE = (64, 80)
LIMITS = (0.0, 255.0)


def disc(row, column, radius):
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return (rows - row) ** 2 + (columns - column) ** 2 <= radius**2


def planes(*objects, count=10):
    """Labels (count, 64, 80) of balls: (first plane, last plane, row, column)."""
    labels = np.zeros((count, *SHAPE), np.uint8)
    for number, (first, last, row, column) in enumerate(objects, start=1):
        middle, half = (first + last) / 2, (last - first) / 2 + 1
        for plane in range(first, last + 1):
            radius = 9 * np.sqrt(1 - ((plane - middle) / half) ** 2)
            labels[plane][disc(row, column, radius)] = number
    return labels


def shuffled(plane, limits):
    """What finds objects has numbers of its own on each plane."""
    numbers = np.random.default_rng(int(plane.sum())).permutation(np.arange(1, 100))
    return np.where(plane, numbers[plane], 0)


def same_objects(first, second):
    """Whether labels are the same but for the numbers."""
    pairs = np.unique(np.stack([np.ravel(first), np.ravel(second)]), axis=1)
    return all(len(np.unique(each)) == pairs.shape[1] for each in pairs)


def test_objects_keep_their_number_through_depth():
    truth = planes((0, 6, 20, 20), (3, 9, 20, 60), (2, 8, 45, 40))
    steps = list(StackSegmenter(shuffled).steps(truth))
    assert [step.done for step in steps] == [*range(1, 11), 10]
    found = steps[-1]
    assert same_objects(truth, found.labels)
    assert found.labels.dtype == np.uint32
    assert set(np.unique(found.labels)) == {0, 1, 2, 3}
    assert found.parents == {}
    # id, plane, row, column
    assert found.tracks[:7, 0].tolist() == [1] * 7
    assert found.tracks[:7, 1].tolist() == [*range(7)]
    np.testing.assert_allclose(found.tracks[:7, 2:], [[20, 20]] * 7)


def test_one_above_the_other_are_two():
    truth = planes((0, 3, 20, 20), (4, 8, 20, 30))
    assert same_objects(truth, StackSegmenter(shuffled).segment(truth).labels)


def test_gaps_are_filled_where_nothing_else_is():
    truth = planes((0, 8, 20, 20), (5, 9, 20, 37))
    holed = truth.copy()
    holed[4][truth[4] == 1] = 0
    found = StackSegmenter(shuffled).segment(holed)
    assert same_objects(truth[:4], found.labels[:4])
    filled = found.labels[4] == found.labels[3, 20, 20]
    np.testing.assert_array_equal(filled, truth[3] == 1)
    assert [1, 4, 20, 20] in found.tracks.tolist()
    apart = StackSegmenter(shuffled, ThroughDepth(gap=0)).segment(holed)
    assert not (apart.labels[4] == 1).any()
    assert set(np.unique(apart.labels)) == {0, 1, 2, 3}


def test_small_objects_are_left_out():
    truth = planes((0, 6, 20, 20), (8, 9, 20, 60), (2, 4, 45, 40))
    voxels = np.bincount(truth.ravel())
    usual = StackSegmenter(shuffled).segment(truth).labels
    assert same_objects(np.where(truth == 2, 0, truth), usual)
    strict = StackSegmenter(shuffled, ThroughDepth(smallest=int(voxels[3]) + 1)).segment(truth)
    assert same_objects(truth == 1, strict.labels)
    assert strict.labels.max() == 1


def test_labels_go_where_they_are_wanted(tmp_path):
    truth = planes((0, 6, 20, 20), (3, 9, 20, 60))
    array = zarr.create_array(
        str(tmp_path / "labels.zarr"), shape=truth.shape, chunks=(1, *SHAPE), dtype="uint16"
    )
    found = StackSegmenter(shuffled).segment(truth, array)
    assert found.labels is array
    assert same_objects(truth, array[:])


def test_gaps_cost_no_more_reading_and_writing():
    """Labels may lie on a disk."""
    truth = planes((0, 9, 20, 20), (0, 9, 20, 60), (0, 9, 45, 40))
    truth[[2, 4, 5, 7]] = 0
    used = {"read": [], "written": []}

    class OnDisk:
        shape, dtype = truth.shape, np.dtype(np.uint32)
        planes = np.zeros(truth.shape, np.uint32)

        def __getitem__(self, plane):
            used["read"].append(plane)
            return self.planes[plane]

        def __setitem__(self, plane, values):
            used["written"].append(plane)
            self.planes[plane] = values

    link = ThroughDepth(gap=2)
    found = StackSegmenter(shuffled, link).segment(truth, OnDisk())
    wanted = StackSegmenter(shuffled, link).segment(truth)
    np.testing.assert_array_equal(found.labels.planes, wanted.labels)
    np.testing.assert_array_equal(found.tracks, wanted.tracks)
    assert wanted.labels[[2, 4, 5, 7]].all(axis=0).any()
    assert used["read"] == [*range(10)]
    assert used["written"] == [*range(10)] * 2


def test_limits_of_large_planes_come_from_some_of_their_pixels(monkeypatch):
    stack = np.arange(3 * 64 * 80, dtype=np.uint16).reshape(3, *SHAPE)
    exact = stack_segmenter.stack_limits(FrameSource(stack))
    monkeypatch.setattr(stack_segmenter, "MOST_SAMPLED", 64 * 80 // 4)
    np.testing.assert_allclose(stack_segmenter.stack_limits(FrameSource(stack)), exact, atol=100)


@pytest.mark.parametrize(("dtype", "limits"), [(np.uint8, (0, 255)), (bool, (0, 1))])
def test_limits_that_need_no_pixels_read_none(dtype, limits):
    class Torn:
        shape, dtype = (3, *SHAPE), np.dtype(bool)

        def __getitem__(self, index):
            raise zlib.error("invalid block type")

    torn = Torn()
    torn.dtype = np.dtype(dtype)
    assert stack_segmenter.stack_limits(FrameSource(torn)) == limits


def test_a_plane_that_cannot_be_read_is_left_out_and_told_at_the_end():
    truth = planes((0, 8, 20, 20)).astype(np.uint16)

    class Torn:
        shape, dtype = truth.shape, truth.dtype

        def __getitem__(self, index):
            if index[0] in (4, 7):
                raise zlib.error("invalid block type")
            return truth[index]

    steps = StackSegmenter(shuffled).steps(FrameSource(Torn(), name="film.tif"))
    found = [next(steps) for _ in range(11)][-1]
    with pytest.raises(InputError, match=r"Plane 4 of film.tif cannot be read \(error: invalid"):
        next(steps)
    assert same_objects(truth[5:7], found.labels[5:7])
    assert found.labels.max() == 1  # a gap is filled


def test_what_was_found_stays_after_cancelling():
    truth = planes((0, 6, 20, 20))
    into = np.zeros(truth.shape, np.uint16)
    steps = StackSegmenter(shuffled).steps(truth, into)
    next(steps), next(steps)
    steps.close()
    assert same_objects(truth[:2] > 0, into[:2] > 0)
    assert not into[2:].any()


def test_limits_are_those_of_the_stack_not_of_its_first_plane():
    stack = np.zeros((5, *SHAPE), np.uint16)
    stack[2] = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    seen = []

    def find(plane, limits):
        seen.append(limits)
        return np.zeros(plane.shape, int)

    found = StackSegmenter(find).segment(stack)
    assert found.tracks.shape == (0, 4)
    assert len(set(seen)) == 1
    assert seen[0][1] > 4000
    StackSegmenter(find).segment(stack, contrast_limits=(1.0, 2.0))
    assert seen[-1] == (1.0, 2.0)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.zeros((9, *SHAPE), np.uint16), "of the stack's shape"),
        (np.zeros((10, *SHAPE), np.float32), "integers"),
    ],
)
def test_labels_that_do_not_fit_are_refused_at_once(labels, message):
    with pytest.raises(ValueError, match=message):
        StackSegmenter(shuffled).steps(planes((0, 6, 20, 20)), labels)


def test_more_objects_than_numbers_are_refused():
    def dots(plane, limits):
        return np.arange(plane.size).reshape(plane.shape)

    with pytest.raises(ValueError, match="Give uint32"):
        StackSegmenter(dots).segment(planes(), np.zeros((10, *SHAPE), np.uint8))


def test_labels_of_another_shape_than_the_plane_are_refused():
    with pytest.raises(ValueError, match="must be alike"):
        StackSegmenter(lambda plane, limits: plane[:5]).segment(planes((0, 6, 20, 20)))


@pytest.mark.parametrize("settings", [{"overlap": 0}, {"gap": -1}, {"smallest": -1}])
def test_settings_without_a_meaning_are_refused(settings):
    with pytest.raises(ValueError, match=f"{next(iter(settings))} is"):
        ThroughDepth(**settings)


@pytest.mark.parametrize("band", [1024, 7])
def test_overlaps_are_those_of_the_masks(monkeypatch, band):
    monkeypatch.setattr("napari_sam2.inference.automatic.detections.BAND", band)
    truth = planes((0, 6, 20, 20), (0, 6, 20, 38))
    detections = Detections(reach=2)
    for plane in truth[:3]:
        detections.add(plane)
    for label in (1, 2):
        rows, columns = np.nonzero(truth[2] == label)
        assert detections.areas[2][label - 1] == len(rows)
        assert detections.centres[2][label - 1] == pytest.approx([rows.mean(), columns.mean()])
    for before in (0, 1):
        overlaps = np.zeros((2, 2))
        first, second, found = detections.overlapping(before, 2)
        overlaps[first, second] = found
        for first in (1, 2):
            for second in (1, 2):
                one, other = truth[before] == first, truth[2] == second
                wanted = (one & other).sum() / (one | other).sum()
                assert overlaps[first - 1, second - 1] == pytest.approx(wanted)


@pytest.mark.parametrize("overlap", [0.05, 0.5])
def test_links_have_the_largest_sum_of_overlaps(overlap):
    random = np.random.default_rng(0)
    for _ in range(20):
        truth = np.zeros((2, 48, 48), np.uint32)
        places = random.integers(4, 36, (30, 2))
        for plane in truth:
            moved = places + random.integers(-2, 3, places.shape)
            for number, (row, column) in enumerate(moved, start=1):
                plane[row : row + 6, column : column + 6] = number
        detections = Detections(reach=1)
        for plane in truth:
            detections.add(plane)
        ids = ThroughDepth(overlap, gap=0, least_planes=1)(detections).ids
        table = np.zeros([len(areas) for areas in detections.areas])
        first, second, found = detections.overlapping(0, 1)
        table[first, second] = np.where(found >= overlap, found, 0)
        best = table[linear_sum_assignment(table, maximize=True)].sum()
        linked = [table[np.flatnonzero(ids[0] == each)[0], place]
                  for place, each in enumerate(ids[1]) if each in ids[0]]  # fmt: skip
        assert linked
        assert min(linked) > 0
        assert sum(linked) == pytest.approx(best)


def test_nano_finds_the_nuclei_of_a_generated_stack(nano):
    """Bounds leave room for another model of the same name."""
    layers = generated_zstack((8, 128, 128), count=4)
    image, truth = layers[0][0], layers[1][0]
    found = StackSegmenter(MaskGenerator(nano, 8)).segment(image).labels
    counts = np.zeros((int(truth.max()) + 1, int(found.max()) + 1))
    np.add.at(counts, (truth, found), 1)
    overlaps = counts / (counts.sum(1, keepdims=True) + counts.sum(0) - counts)
    assert np.count_nonzero(overlaps[1:, 1:].max(axis=1) > 0.5) >= 3  # of 4
    assert found.max() <= 9


def test_limits_are_those_of_all_planes_where_the_sampled_ones_are_empty():
    stack = np.zeros((100, 16, 16), np.uint16)
    stack[1:6, 4:8, 4:8] = 500
    assert stack_segmenter.stack_limits(FrameSource(stack)) == (0.0, 500.0)


def test_a_stack_of_two_planes_has_objects():
    found = StackSegmenter(shuffled).segment(
        planes((0, 1, 20, 20), (1, 1, 40, 60), count=2), contrast_limits=LIMITS
    )
    assert np.unique(found.labels).tolist() == [0, 1]

"""Whole stacks by memory: `nano` carries what a stand-in finds on some planes."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from napari_sam2 import MaskGenerator, MemorySegmenter, load_model
from napari_sam2.inference.errors import InputError

SHAPE = (128, 160)


@pytest.fixture(scope="module")
def nano():
    return load_model("nano", "cpu")


def balls(*objects, count=13):
    """An image and labels, (count, 128, 160), of balls: (first plane, last plane, row, column)."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    labels = np.zeros((count, *SHAPE), np.uint8)
    for number, (first, last, row, column) in enumerate(objects, start=1):
        middle, half = (first + last) / 2, (last - first) / 2 + 1
        for plane in range(first, last + 1):
            radius = 18 * np.sqrt(1 - ((plane - middle) / half) ** 2)
            labels[plane][(rows - row) ** 2 + (columns - column) ** 2 <= radius**2] = number
    noise = np.random.default_rng(0).integers(0, 30, labels.shape)
    return (np.where(labels, 150, 40) + noise).astype(np.uint8), labels


class Finder:
    """Finds the objects of a truth, except what it is told to miss; counts what it is asked."""

    def __init__(self, image, truth):
        self.found = dict(zip((plane.tobytes() for plane in image), truth.copy(), strict=True))
        self.order = list(self.found)
        self.asked = []

    def __getitem__(self, plane):
        return self.found[self.order[plane]]

    def __call__(self, plane, limits):
        self.asked.append(self.order.index(plane.tobytes()))
        return self.found[plane.tobytes()].astype(np.int64) * 7


def overlaps(truth, labels):
    """The IoU of each true object with the one that covers most of it."""
    found = []
    for number in np.unique(truth[truth > 0]):
        mask = truth == number
        best = np.bincount(labels[mask]).argmax()
        other = labels == best if best else np.zeros_like(mask)
        found.append((mask & other).sum() / (mask | other).sum())
    return found


def test_objects_of_some_planes_are_carried_through_all(nano):
    image, truth = balls((0, 8, 40, 40), (3, 12, 40, 110), (2, 10, 90, 75))
    find = Finder(image, truth)
    steps = list(MemorySegmenter(find, nano).steps(image))
    assert find.asked == [1, 4, 7, 10]
    assert [step.done for step in steps[:4]] == [2, 5, 8, 11]
    carried = [step.explained for step in steps[4:]]
    assert carried == sorted(carried)
    assert carried[-1] == 1
    found = steps[-1]
    assert found.is_linked
    assert set(np.unique(found.labels)) == {0, 1, 2, 3}
    assert min(overlaps(truth, found.labels)) > 0.7
    # numbered in the order in which they begin
    assert [found.labels[4, row, column] for row, column in ((40, 40), (90, 75), (40, 110))] == [
        1,
        2,
        3,
    ]
    ids, planes, rows, columns = found.tracks.T
    assert list(zip(ids, planes, strict=True)) == sorted(zip(ids, planes, strict=True))
    np.testing.assert_allclose(rows[ids == 1], 40, atol=2)
    np.testing.assert_allclose(columns[ids == 1], 40, atol=2)


def test_what_is_missed_on_the_fullest_plane_is_picked_up_later(nano):
    image, truth = balls((0, 8, 40, 40), (3, 12, 40, 110))
    find = Finder(image, truth)
    find[4][truth[4] == 2] = 0
    find[7][truth[7] == 2] = 0
    find[7][truth[7] == 1] = 0
    segmenter = MemorySegmenter(find, nano, least_found=1)
    assert min(overlaps(truth, segmenter.segment(image).labels)) > 0.7


def test_what_is_found_twice_is_one_object(nano):
    image, truth = balls((0, 12, 60, 60))
    find = Finder(image, truth)
    find[4][:, 60:][find[4][:, 60:] > 0] = 2  # in halves on one plane
    found = MemorySegmenter(find, nano, least_found=1).segment(image)
    assert set(np.unique(found.labels)) == {0, 1}
    assert overlaps(truth, found.labels)[0] > 0.7


def test_what_is_found_on_one_plane_alone_is_left_out(nano):
    image, truth = balls((0, 12, 40, 40))
    find = Finder(image, truth)
    find[7][80:110, 100:130] = 5  # where there is nothing
    usual = MemorySegmenter(find, nano).segment(image)
    assert set(np.unique(usual.labels)) == {0, 1}
    assert usual.labels[7, 95, 115] == 0
    every = MemorySegmenter(find, nano, least_found=1).segment(image)
    assert every.labels[7, 95, 115] == 2


def test_a_plane_that_cannot_be_read_is_told_at_the_end(nano):
    image, truth = balls((0, 12, 40, 40))

    class Torn:
        shape, dtype = image.shape, image.dtype

        def __getitem__(self, index):
            if index[0] == 7:
                raise OSError("torn")
            return image[index]

    labels = np.zeros(image.shape, np.uint16)
    with pytest.raises(InputError, match="torn"):
        MemorySegmenter(Finder(image, truth), nano, every=2).segment(Torn(), labels)
    assert not labels[7].any()
    assert overlaps(truth[:7], labels[:7])[0] > 0.7
    assert labels[9:].any()


def test_labels_go_where_they_are_wanted(nano, tmp_path):
    image, truth = balls((0, 8, 40, 40), (3, 12, 40, 110))
    array = zarr.create_array(
        str(tmp_path / "labels.zarr"), shape=image.shape, chunks=(1, *SHAPE), dtype="uint8"
    )
    found = MemorySegmenter(Finder(image, truth), nano).segment(image, array)
    assert found.labels is array
    array[:] = 9  # what was there before
    MemorySegmenter(Finder(image, truth), nano).segment(image, array)
    memory = MemorySegmenter(Finder(image, truth), nano).segment(image).labels
    np.testing.assert_array_equal(array[:], memory)


def test_one_plane_and_none_to_be_found(nano):
    image, truth = balls((0, 0, 40, 40), count=1)
    assert overlaps(truth, MemorySegmenter(Finder(image, truth), nano).segment(image).labels) == [1]
    nothing = MemorySegmenter(Finder(image, 0 * truth), nano).segment(image)
    assert nothing.is_linked
    assert not nothing.labels.any()
    assert nothing.tracks.shape == (0, 4)


def test_what_searches_planes_may_be_the_model(nano):
    image, truth = balls((0, 8, 40, 40), (3, 12, 40, 110))
    generator = MaskGenerator(nano, points_per_side=6)
    found = MemorySegmenter(generator, smallest=30).segment(image)
    assert min(overlaps(truth, found.labels)) > 0.7


def test_what_cannot_be_is_refused(nano):
    image, truth = balls((0, 8, 40, 40))
    find = Finder(image, truth)
    with pytest.raises(TypeError, match="No model"):
        MemorySegmenter(find)
    with pytest.raises(ValueError, match="every is 0"):
        MemorySegmenter(find, nano, every=0)
    with pytest.raises(ValueError, match="shape"):
        MemorySegmenter(find, nano).steps(image, np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(ValueError, match=r"labels of shape \(2, 2\)"):
        MemorySegmenter(lambda plane, limits: np.ones((2, 2), int), nano).segment(image)
    many, labels = balls(), np.zeros(image.shape, np.int8)
    crowd = np.arange(SHAPE[0] * SHAPE[1]).reshape(SHAPE)
    with pytest.raises(ValueError, match="ends at 127"):
        MemorySegmenter(lambda plane, limits: crowd, nano).segment(many[0], labels)

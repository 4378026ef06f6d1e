"""Everything on a plane larger than the model's input; a stand-in answers for the model."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import zarr
from scipy.ndimage import label

from napari_sam2 import MaskGenerator, load_model
from napari_sam2.inference.automatic.everything_tiled import (
    _own_points,
    label_everything,
    search_tiles,
)
from napari_sam2.inference.automatic.found_masks import Candidates, FoundMask, Thresholds
from napari_sam2.inference.automatic.runs import RunMask
from napari_sam2.inference.large.fields import Grid
from napari_sam2.inference.large.large_plane import LargePlane

SHAPE = (170, 233)


class BlobGenerator:
    """Each point in a bright blob leads to it, as far as it is seen."""

    model = SimpleNamespace(config=SimpleNamespace(image_size=64))
    points_per_side = 16
    crop_layers = 0

    def generate(self, plane, contrast_limits, points_yx):
        assert max(plane.shape) <= 64
        blobs, _ = label(plane > 0.5)
        found = []
        for number, (row, column) in enumerate(points_yx):
            blob = blobs[round(row), round(column)]
            if blob:
                runs = RunMask.of(blobs == blob, plane.shape)
                score = 0.5 + number / 1000
                found.append(FoundMask(runs, score, 1.0, (row, column), (0, 0, 63, 63)))
        count, none = len(points_yx), Thresholds(0, 0)
        return Candidates(plane.shape, tuple(found), count, count, none, none)


@pytest.fixture
def discs():
    """Discs on a lattice that no tile shares, and one that is larger than half a tile."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    labels = np.zeros(SHAPE, dtype=np.uint32)
    for number, (row, column) in enumerate(
        [(r, c) for r in range(9, 170, 23) for c in range(10, 200, 23)], start=1
    ):
        labels[np.hypot(rows - row, columns - column) < 9] = number
    return labels


def test_every_point_of_the_lattice_belongs_to_one_tile():
    grid = Grid(SHAPE, 64)
    for level in range(grid.levels):
        step = 2**level
        points = [
            np.add(_own_points(grid, tile, 64 / 10), np.divide(tile.box[:2], step))
            for tile in grid.tiles(level)
        ]
        together = np.round(np.concatenate(points), 6)
        assert len(np.unique(together, axis=0)) == len(together)
        along = [int(np.floor(side / step / 6.4 + 0.5)) for side in SHAPE]
        assert len(together) == along[0] * along[1]


def test_an_object_cut_by_a_border_is_one_object(discs):
    written = zarr.zeros(SHAPE, dtype=np.uint32, chunks=(64, 64))
    steps = list(label_everything(BlobGenerator(), zarr.array(255 * (discs > 0)), written, (0, 1)))
    labels = written[:]
    np.testing.assert_array_equal(labels > 0, discs > 0)
    for number in range(1, discs.max() + 1):
        assert len(np.unique(labels[discs == number])) == 1
    assert steps[-1].objects == discs.max() == len(np.unique(labels)) - 1
    assert steps[-1].done == steps[-1].tiles == len(steps) == 5 * 7 + 2 * 3 + 1


@pytest.mark.parametrize("shape", [SHAPE, (171, 234)])
def test_what_no_tile_shows_whole_is_seen_coarsely(shape):
    truth = np.zeros(shape, np.uint8)
    truth[40:140, 40:140] = 1  # twice as long a tile does not show it whole, either
    truth[40:60, 170:190] = 2
    truth[100:140, 180:220] = 3
    truth[150:, 4:] = 4  # to the edges of the plane
    truth[80:100, 80:100] = 5  # within another, which is taken for what is around it
    written = zarr.zeros(shape, dtype=np.uint32, chunks=(64, 64))
    plane = np.where(truth == 5, 0, 255 * (truth > 0)).astype(np.uint8)
    *_, progress = label_everything(BlobGenerator(), plane, written)
    labels = written[:]
    assert progress.objects == 4
    for number in range(1, 5):
        found = np.bincount(labels[truth == number]).argmax()
        assert found
        # as coarse as the level that it was seen at
        assert (
            np.count_nonzero((labels == found) ^ (truth == number)) < 0.15 * (truth == number).sum()
        )
    assert not labels[84:96, 84:96].any()


def test_the_real_generator_takes_tiles(discs):
    plane = (discs[:, :128] > 0) * np.uint16(500)
    model = load_model("nano", "cpu", "float32", 128)
    generator = MaskGenerator(model, 8, crop_layers=1)
    labels = np.zeros(plane.shape, np.uint32)
    how = {"score_threshold": 0.4, "smallest": 3}
    *_, progress = label_everything(generator, plane, labels, **how)
    assert (progress.done, progress.tiles) == (3, 3)
    assert labels.max() == progress.objects > 0

    # kept to choose from, tiles give the same, as often as wanted
    *some, last = search_tiles(generator, LargePlane(plane))
    assert [step.decoded for step in (some[0], last)] == [0, last.points]
    assert sorted(step.decoded for step in some) == [step.decoded for step in some]
    for _ in range(2):
        np.testing.assert_array_equal(last.choose(**how).labels(), labels)
        assert not last.choose(score_threshold=1.0).labels().any()
    assert (last.floors, last.usual) == (generator.floors, generator.usual)
    assert len(last.masks) > labels.max()


def test_labels_that_cannot_count_the_objects_are_refused(tiny_model):
    plane = np.zeros((90, 300), np.uint8)
    with pytest.raises(TypeError, match="Give uint32"):
        next(label_everything(MaskGenerator(tiny_model, 4), plane, np.zeros_like(plane)))


def test_a_coarse_tile_too_narrow_for_crops_is_named_before_any_work(tiny_model):
    generator = MaskGenerator(tiny_model, 4, crop_layers=1)  # which are of 64 pixels
    plane, labels = np.zeros((90, 300), np.uint8), np.zeros((90, 300), np.uint32)
    with pytest.raises(ValueError, match="no more than 0 layers"):
        next(label_everything(generator, plane, labels))
    with pytest.raises(ValueError, match="no more than 0 layers"):
        next(search_tiles(generator, LargePlane(plane)))


def test_labels_have_the_shape_of_the_plane():
    with pytest.raises(ValueError, match="They must be equal"):
        label_everything(BlobGenerator(), np.zeros((70, 70)), np.zeros((70, 71)))

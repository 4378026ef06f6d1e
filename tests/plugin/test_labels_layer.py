import gc

import dask.array
import numpy as np
import pytest
import zarr
from napari.components import ViewerModel
from napari.layers import Image, Labels

from napari_sam2.inference.crops import MaskCrop
from napari_sam2.plugin.coordinates import stack_geometry
from napari_sam2.plugin.layers import new_labels
from napari_sam2.plugin.layers.labels_layer import (
    LabelsWriter,
    is_possible_target,
    largest_label,
    make_labels_layer,
)
from napari_sam2.plugin.layers.write_queue import WriteQueue
from napari_sam2.session.values import FrameChange, ObjectMask


def mask(origin, shape=(3, 3), logit=5.0):
    return ObjectMask(MaskCrop(np.full(shape, logit, np.float16), origin), 1.0, True)


EMPTY = ObjectMask(MaskCrop(np.zeros((0, 0), np.float16), (0, 0)), 0.0, False)


@pytest.fixture
def image():
    return Image(np.zeros((4, 12, 12), np.uint8), scale=(2, 1, 1))


@pytest.fixture
def viewer(image):
    viewer = ViewerModel()
    viewer.add_layer(image)
    viewer.dims.set_current_step(0, 1)
    return viewer


@pytest.fixture
def write(viewer, image, qapp):
    """Write before -> after on frame 1 of a Labels layer; gives the writer."""
    geometry = stack_geometry(viewer.dims, image)

    def write_change(layer, before, after, frame=1):
        queue = WriteQueue(viewer.dims)
        writer = LabelsWriter(layer, queue)
        writer.write(FrameChange(geometry.key, frame, before, after))
        queue.close()
        return writer

    return write_change


@pytest.fixture
def layer(image, viewer):
    layer = make_labels_layer(image, image.data.shape)
    viewer.add_layer(layer)
    return layer


def test_the_layer_lies_on_the_image(layer, image):
    assert layer.data.shape == image.data.shape
    np.testing.assert_array_equal(layer.scale, image.scale)
    assert layer.data.dtype == np.uint16
    assert largest_label(layer) == 65535


def test_labels_that_would_fill_the_memory_are_on_disk(qapp, monkeypatch, tmp_path):
    told = []
    monkeypatch.setattr(new_labels, "show_info", told.append)
    monkeypatch.setattr(new_labels.tempfile, "tempdir", str(tmp_path))
    data = dask.array.zeros((2000, 16_000, 16_000), chunks=(1, 1000, 1000), dtype=np.uint16)
    layer = make_labels_layer(Image(data, contrast_limits=(0, 1)), data.shape)
    assert layer.data.shape == data.shape
    assert "could take 1024 GB" in told[0]
    layer.data[1999, 5:8, 5:8] = 3
    assert layer.data[1999, 4:9, 4:9].sum() == 27
    (folder,) = tmp_path.iterdir()
    assert sum(path.stat().st_size for path in folder.rglob("*")) < 100_000
    del layer
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_mask_replaces_its_former_self(layer, write):
    data = layer.data
    write(layer, {}, {1: mask((0, 0))})
    write(layer, {1: mask((0, 0))}, {1: mask((5, 5))})
    expected = np.zeros((4, 12, 12), int)
    expected[1, 5:8, 5:8] = 1
    np.testing.assert_array_equal(data, expected)
    assert layer.data is data


def test_other_labels_stay(layer, write):
    layer.data[1, 1, :] = 9
    write(layer, {}, {1: mask((0, 0))})
    assert (layer.data[1, 1] == 9).all()
    assert (layer.data[1, 0, :3] == 1).all()
    write(layer, {1: mask((0, 0))}, {1: EMPTY})
    assert (layer.data[1, 1] == 9).all()
    assert (layer.data == 1).sum() == 0


def test_a_foreign_region_with_the_same_number_stays(layer, write):
    layer.data[1, 10, :] = 1
    write(layer, {}, {1: mask((0, 0))})
    write(layer, {1: mask((0, 0))}, {})
    assert (layer.data[1, 10] == 1).all()
    assert (layer.data == 1).sum() == 12


def test_where_objects_overlap_the_surer_one_wins(layer, write):
    after = {1: mask((0, 0), logit=2.0), 2: mask((1, 1), logit=3.0)}
    write(layer, {}, after)
    assert (layer.data[1, 1:4, 1:4] == 2).all()
    assert (layer.data == 1).sum() == 5
    write(layer, after, {1: after[1]})
    assert (layer.data[1, :3, :3] == 1).all()
    assert (layer.data == 2).sum() == 0


@pytest.mark.parametrize("kind", ["zarr", "dask"])
def test_labels_that_are_not_in_memory(kind, viewer, write):
    shape = (4, 12, 12)
    if kind == "zarr":
        data = zarr.zeros(shape=shape, chunks=(1, 6, 6), dtype="uint8")
    else:
        data = dask.array.zeros(shape, chunks=(1, 6, 6), dtype="uint8")
    layer = Labels(data)
    viewer.add_layer(layer)
    assert is_possible_target(layer, shape)
    write(layer, {}, {3: mask((4, 4))})
    expected = np.zeros(shape, int)
    expected[1, 4:7, 4:7] = 3
    np.testing.assert_array_equal(np.asarray(layer.data), expected)


def test_targets_must_have_the_shape_of_the_image():
    assert not is_possible_target(Labels(np.zeros((4, 5), int)), (5, 4))
    assert not is_possible_target(Labels([np.zeros((4, 5), int), np.zeros((2, 2), int)]), (4, 5))


def test_only_what_is_seen_is_drawn(layer, write, viewer, qtbot):
    drawn = []
    layer.events.set_data.connect(lambda event: drawn.append(1))
    write(layer, {}, {1: mask((0, 0))}, frame=2)
    qtbot.wait(120)
    assert drawn == []
    writer = write(layer, {}, {1: mask((0, 0))}, frame=1)
    qtbot.waitUntil(lambda: drawn == [1], timeout=1000)
    layer.visible = False
    drawn.clear()
    write(layer, {}, {2: mask((4, 4))}, frame=1)
    qtbot.wait(120)
    assert drawn == []
    assert (layer.data[1] == 2).sum() == 9
    writer.close()


def test_many_writes_are_drawn_at_intervals(layer, viewer, image, qtbot):
    drawn = []
    layer.events.set_data.connect(lambda event: drawn.append(1))
    geometry = stack_geometry(viewer.dims, image)
    writer = LabelsWriter(layer, WriteQueue(viewer.dims))
    for turn in range(20):
        change = FrameChange(geometry.key, 1, {}, {turn + 1: mask((0, 0))})
        writer.write(change)
        qtbot.wait(5)
    qtbot.wait(120)
    assert 2 <= len(drawn) < 15

"""Everything on a plane, in a real viewer."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtCore import Qt
from scipy.ndimage import gaussian_filter
from tests.plugin import conftest

from napari_sam2.inference import load
from napari_sam2.inference.automatic.everything_tiled import label_everything
from napari_sam2.inference.automatic.found_masks import USUAL_OF_NANO, Candidates, Thresholds
from napari_sam2.inference.automatic.mask_generator import MaskGenerator
from napari_sam2.inference.load import load_model
from napari_sam2.plugin.coordinates import part_in_view, stack_geometry
from napari_sam2.plugin.everything.result_layers import LABELS_NAME, plane_layer
from napari_sam2.plugin.layers import new_labels
from napari_sam2.plugin.widgets.segment_all_dock import SegmentAllWidget

LEFT = Qt.MouseButton.LeftButton


def discs(frames=6):
    """As blurred as a microscope's images are: `nano` has hardly seen sharp edges without noise."""
    return gaussian_filter(conftest.discs(frames), (0, 1, 1))


@pytest.fixture
def open_all(make_napari_viewer, qtbot, nano, monkeypatch, messages):
    """Open a viewer with images and the dock; gives both, and waits for the work at the end."""
    monkeypatch.setattr(load, "load_model", lambda *_: nano)
    docks = []

    def open_with(*images, points=6, **arguments):
        viewer = make_napari_viewer()
        for image in images:
            viewer.add_image(image, **arguments)
        viewer.dims.current_step = (0,) * viewer.dims.ndim
        dock = SegmentAllWidget(PublicOnlyProxy(viewer))  # as napari does
        viewer.window.add_dock_widget(dock)
        dock.search.points.setValue(points)
        docks.append(dock)
        return viewer, dock

    yield open_with
    for dock in docks:
        dock.segmentation.cancel()
        qtbot.waitUntil(lambda dock=dock: not dock.segmentation.is_busy, timeout=20000)


def search(dock, qtbot):
    qtbot.mouseClick(dock.search.search, LEFT)
    qtbot.waitUntil(lambda: not dock.segmentation.is_busy, timeout=30000)


def shown(viewer):
    return np.asarray(viewer.layers[LABELS_NAME].data)


def test_a_button_segments_the_plane_in_view(open_all, qtbot, nano):
    stack = np.repeat(discs(3), 2, axis=0)
    viewer, dock = open_all(stack, scale=(2, 1, 1), translate=(0, 5, 0))
    active = viewer.layers.selection.active
    viewer.dims.set_current_step(0, 4)
    search(dock, qtbot)
    layer = viewer.layers[LABELS_NAME]
    assert layer.data.shape == stack.shape
    assert tuple(layer.scale) == (2, 1, 1)
    assert viewer.layers.selection.active is active
    limits = tuple(viewer.layers[0].contrast_limits)
    candidates = MaskGenerator(nano, 6).generate(stack[4], limits)
    wanted = candidates.choose(candidates.usual.score, candidates.usual.stability, 0.7)
    np.testing.assert_array_equal(layer.data[4], wanted.labels())
    assert layer.data[4].any()
    assert not layer.data[[0, 1, 2, 3, 5]].any()
    assert dock.search.status.text() == (
        f"{len(np.unique(layer.data)) - 1} objects, of {len(candidates.masks)} masks found"
    )
    assert dock.search.search.isEnabled()
    assert not dock.search.cancel.isEnabled()


def test_thresholds_move_without_the_model(open_all, qtbot, nano, monkeypatch):
    viewer, dock = open_all(discs()[0])
    search(dock, qtbot)
    before = shown(viewer).copy()
    monkeypatch.setattr(nano.network, "decode", None)
    monkeypatch.setattr(nano.network, "encode_image", None)
    for value in (0.5, 0.9, 1.0):
        dock.choice.score.setValue(value)
    qtbot.waitUntil(lambda: not shown(viewer).any(), timeout=5000)
    assert dock.search.status.text().startswith("0 objects")
    dock.choice.score.setValue(0.5)
    qtbot.waitUntil(lambda: np.array_equal(shown(viewer), before), timeout=5000)
    dock.choice.smallest.setValue(5000)
    qtbot.waitUntil(lambda: not shown(viewer).any(), timeout=5000)


def test_sliders_begin_at_what_is_usual_and_stay_where_they_were_put(open_all, qtbot):
    _, dock = open_all(discs()[0])
    search(dock, qtbot)
    sliders = dock.choice.score, dock.choice.stability
    assert Thresholds(*(slider.value() for slider in sliders)) == USUAL_OF_NANO
    assert dock.choice.score.minimum() == 0.2
    dock.choice.score.setValue(0.77)
    search(dock, qtbot)
    assert dock.choice.score.value() == 0.77


def test_cancel_keeps_what_was_found(open_all, qtbot, nano, monkeypatch):
    gate = threading.Semaphore(2)
    decode = nano.network.decode
    monkeypatch.setattr(nano.network, "decode", lambda *of: gate.acquire() and decode(*of))
    _, dock = open_all(discs()[0], points=12)
    qtbot.mouseClick(dock.search.search, LEFT)
    qtbot.waitUntil(lambda: dock.search.progress.value() == 32, timeout=20000)
    assert dock.search.progress.maximum() == 144
    qtbot.mouseClick(dock.search.search, LEFT)  # one search at a time
    qtbot.mouseClick(dock.search.cancel, LEFT)
    gate.release(2)
    qtbot.waitUntil(lambda: not dock.segmentation.is_busy, timeout=20000)
    assert dock.search.progress.value() <= 64
    assert "masks found" in dock.search.status.text()
    assert dock.search.search.isEnabled()


@pytest.mark.parametrize("how", ["cancelled", "failed"])
def test_an_earlier_result_stays_until_the_next_is_there(
    open_all, qtbot, nano, monkeypatch, messages, how
):
    viewer, dock = open_all(discs()[0])
    search(dock, qtbot)
    before = shown(viewer).copy()
    decode, gate = nano.network.decode, threading.Semaphore(1)

    def gated(*of):
        gate.acquire()
        if how == "failed" and dock.search.progress.value() == 16:
            raise ValueError("there is no such point")
        return decode(*of)

    with monkeypatch.context() as patch:
        patch.setattr(nano.network, "decode", gated)
        dock.search.points.setValue(12)
        qtbot.mouseClick(dock.search.search, LEFT)
        qtbot.waitUntil(lambda: dock.search.progress.value() == 16, timeout=20000)
        np.testing.assert_array_equal(shown(viewer), before)
        if how == "cancelled":
            qtbot.mouseClick(dock.search.cancel, LEFT)
        gate.release(2)
        qtbot.waitUntil(lambda: not dock.segmentation.is_busy, timeout=20000)
    np.testing.assert_array_equal(shown(viewer), before)
    assert "before stays" in dock.search.status.text()
    score = dock.choice.score.value()
    dock.choice.score.setValue(1.0)  # of what is shown
    qtbot.waitUntil(lambda: not shown(viewer).any(), timeout=5000)
    dock.choice.score.setValue(score)
    qtbot.waitUntil(lambda: np.array_equal(shown(viewer), before), timeout=5000)
    search(dock, qtbot)
    assert (shown(viewer) != before).any()


def test_labels_of_a_stack_that_would_fill_the_memory_are_on_disk(open_all, monkeypatch, tmp_path):
    monkeypatch.setattr(new_labels.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(new_labels, "show_info", lambda told: None)
    viewer, *_ = open_all(np.zeros((2, 8, 8), np.uint8))
    layer = plane_layer(viewer.layers, viewer.layers[0], (10**7, 400, 400))
    assert layer.data.dtype == np.uint32
    layer.data[7, 3:5, 3:5] = 70_000
    assert layer.data[7, 2:6, 2:6].sum() == 4 * 70_000


def test_an_image_deleted_meanwhile_breaks_nothing(open_all, qtbot, messages):
    viewer, dock = open_all(discs()[0])
    qtbot.mouseClick(dock.search.search, LEFT)
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not dock.segmentation.is_busy, timeout=20000)
    assert LABELS_NAME not in viewer.layers
    search(dock, qtbot)
    assert "There is no image" in dock.search.status.text()
    assert messages == []


def test_an_image_that_is_added_later_is_segmented(open_all, qtbot, messages):
    viewer, dock = open_all()
    search(dock, qtbot)
    assert "There is no image" in dock.search.status.text()
    image = viewer.add_image(discs()[0])
    qtbot.waitUntil(lambda: dock.search.image.currentData() is image, timeout=1000)
    search(dock, qtbot)
    assert LABELS_NAME in viewer.layers


def test_each_plane_is_shown_in_the_same_layer(open_all, qtbot):
    viewer, dock = open_all(discs(2))
    search(dock, qtbot)
    first = shown(viewer)[0].copy()
    viewer.layers[LABELS_NAME].name = "mine"
    viewer.dims.set_current_step(0, 1)
    search(dock, qtbot)
    assert len(viewer.layers) == 2
    found = viewer.layers["mine"].data
    np.testing.assert_array_equal(found[0], first)
    assert found[1].any()


def test_only_the_part_in_view_is_searched_and_the_rest_stays(open_all, qtbot, nano):
    stack = np.tile(discs(2), (1, 4, 4))  # 256 x 256
    viewer, dock = open_all(stack)
    viewer.dims.set_current_step(0, 1)
    search(dock, qtbot)
    before = shown(viewer)[1].copy()
    viewer.camera.center, viewer.camera.zoom = (0, 64, 64), 8
    viewer.window._qt_viewer.canvas.on_draw(None)
    dock.search.in_view.setChecked(True)
    part = part_in_view(
        viewer.dims, viewer.layers[0], stack_geometry(viewer.dims, viewer.layers[0])
    )
    assert all(0 <= each.start < each.stop < 256 for each in part)
    search(dock, qtbot)
    after = shown(viewer)[1]
    limits = tuple(viewer.layers[0].contrast_limits)
    candidates = MaskGenerator(nano, 6).generate(stack[1][part], limits)
    wanted = candidates.choose(candidates.usual.score, candidates.usual.stability, 0.7).labels()
    assert wanted.any()
    np.testing.assert_array_equal(after[part] > 0, wanted > 0)
    elsewhere = np.ones(before.shape, dtype=bool)
    elsewhere[part] = False
    np.testing.assert_array_equal(after[elsewhere], before[elsewhere])
    assert after[part][wanted > 0].min() > after[elsewhere].max()


@pytest.fixture
def small_input(open_all, monkeypatch):
    """The bundled model with an input of 128 pixels."""
    model = load_model("nano", device="cpu", image_size=128)
    monkeypatch.setattr(load, "load_model", lambda *_: model)
    return model


@pytest.mark.parametrize("colours", [False, True])
def test_a_plane_much_larger_than_the_input_is_searched_in_parts(
    open_all, small_input, qtbot, monkeypatch, colours
):
    stack = np.tile(discs(2), (1, 5, 4))  # 320 x 256
    if colours:
        stack = stack[..., None].repeat(3, axis=-1)
    viewer, dock = open_all(stack, points=8, rgb=colours)
    viewer.dims.set_current_step(0, 1)
    before = np.zeros(stack.shape[1:3], np.uint32)

    def wanted(score, stability):
        labels, limits = before.copy(), (0.0, 255.0) if colours else image.contrast_limits
        generator = MaskGenerator(small_input, 8)
        how = {"score_threshold": score, "stability_threshold": stability}
        for _ in label_everything(generator, stack[1], labels, tuple(limits), **how):
            pass
        return labels

    image = viewer.layers[0]
    search(dock, qtbot)
    usual = USUAL_OF_NANO
    whole = wanted(usual.score, usual.stability)
    np.testing.assert_array_equal(shown(viewer), [before, whole])
    assert whole.max() >= 30  # two discs on each of 20 copies
    points = 20 * 16 + 10 * 8 + 5 * 4  # at full resolution, at half, at a quarter
    assert dock.search.progress.value() == dock.search.progress.maximum() == points
    assert dock.search.status.text().startswith(f"{whole.max()} objects")
    assert "in parts" in dock.search.status.text()

    stricter = wanted(0.88, 0.7)
    assert 0 < stricter.max() < whole.max()
    monkeypatch.setattr(small_input.network, "decode", None)
    dock.choice.score.setValue(0.88)
    dock.choice.stability.setValue(0.7)
    qtbot.waitUntil(lambda: np.array_equal(shown(viewer)[1], stricter), timeout=5000)


def test_cancel_keeps_the_parts_that_were_searched(open_all, small_input, qtbot, monkeypatch):
    gate, decode = threading.Semaphore(12), small_input.network.decode
    monkeypatch.setattr(small_input.network, "decode", lambda *of: gate.acquire() and decode(*of))
    viewer, dock = open_all(np.tile(discs(1)[0], (5, 4)), points=8)
    qtbot.mouseClick(dock.search.search, LEFT)
    qtbot.waitUntil(lambda: not gate._value, timeout=20000)
    qtbot.mouseClick(dock.search.cancel, LEFT)
    gate.release()
    qtbot.waitUntil(lambda: not dock.segmentation.is_busy, timeout=20000)
    assert 0 < dock.search.progress.value() < dock.search.progress.maximum()
    assert shown(viewer)[:128].any()
    assert not shown(viewer)[192:].any()


def test_the_part_in_view_of_a_pyramid_in_colours(open_all, qtbot):
    base = np.tile(discs(1)[0], (16, 16))[..., None].repeat(3, axis=-1)  # 1024 x 1024
    viewer, _ = open_all([base, base[::2, ::2], base[::4, ::4]], rgb=True, multiscale=True)
    image = viewer.layers[0]
    viewer.camera.center, viewer.camera.zoom = (0, 512, 512), 0.25
    viewer.window._qt_viewer.canvas.on_draw(None)
    assert image.data_level
    whole = part_in_view(viewer.dims, image, stack_geometry(viewer.dims, image))
    assert whole == (slice(0, 1024), slice(0, 1024))
    viewer.camera.zoom = 8
    viewer.window._qt_viewer.canvas.on_draw(None)
    rows, columns = part_in_view(viewer.dims, image, stack_geometry(viewer.dims, image))
    for part in (rows, columns):
        assert 300 < part.start < 512 < part.stop < 700


def test_an_image_out_of_view_is_said(open_all, qtbot, messages):
    viewer, dock = open_all(discs()[0])
    viewer.camera.center = (0, 5000, 5000)
    viewer.window._qt_viewer.canvas.on_draw(None)
    dock.search.in_view.setChecked(True)
    search(dock, qtbot)
    assert len(messages) == 1
    assert "is in view. Move it there" in messages[0][1]
    assert LABELS_NAME not in viewer.layers


def test_an_error_is_told(open_all, qtbot, monkeypatch, messages):
    _, dock = open_all(discs()[0])

    def refuse(*_):
        raise ValueError("there is no such model")

    monkeypatch.setattr(load, "load_model", refuse)
    search(dock, qtbot)
    assert messages == [("error", "there is no such model")]
    assert dock.search.status.text() == "Stopped by an error"


def test_the_dock_lets_go_when_it_is_closed(open_all, qtbot):
    viewer, dock = open_all(discs()[0])
    qtbot.mouseClick(dock.search.search, LEFT)
    viewer.window.remove_dock_widget(dock)
    qtbot.waitUntil(lambda: not dock.segmentation.is_busy, timeout=20000)
    viewer.add_image(discs()[0])
    assert LABELS_NAME not in viewer.layers


def test_a_choice_for_the_search_before_does_not_number_this_one(open_all, qtbot, monkeypatch):
    viewer, dock = open_all(np.tile(discs()[0], (2, 2)), points=10)
    search(dock, qtbot)
    viewer.camera.center, viewer.camera.zoom = (0, 40, 40), 12
    viewer.window._qt_viewer.canvas.on_draw(None)
    dock.search.in_view.setChecked(True)
    gate, real = threading.Event(), Candidates.choose

    def slow(*arguments, **named):
        gate.wait(10)
        return real(*arguments, **named)

    monkeypatch.setattr(Candidates, "choose", slow)
    dock.choice.smallest.setValue(1)  # the chooser is at work while the part in view is searched
    qtbot.mouseClick(dock.search.search, LEFT)
    gate.set()
    qtbot.waitUntil(lambda: not dock.segmentation.is_busy, timeout=30000)
    part = part_in_view(
        viewer.dims, viewer.layers[0], stack_geometry(viewer.dims, viewer.layers[0])
    )
    around = np.ones(shown(viewer).shape, bool)
    around[part] = False
    inside, outside = (set(np.unique(shown(viewer)[where])) for where in (part, around))
    assert inside - {0}
    assert inside & outside == {0}

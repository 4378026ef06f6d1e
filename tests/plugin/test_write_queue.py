"""Changes of many planes: what is seen at once, what follows, and that it ends the same."""

import time

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication
from tests.plugin.conftest import discs, sizes
from tests.session.test_labels import OBJECTS, SHAPE, STACKS, mask

from napari_sam2.plugin.layers import write_queue
from napari_sam2.plugin.layers.labels_layer import LabelsWriter
from napari_sam2.plugin.layers.write_queue import WriteQueue
from napari_sam2.session.labels import MaskOverlay, plane_key
from napari_sam2.session.values import FrameChange

FRAMES = 40


@pytest.fixture
def propagated(open_dock):
    """A dock with two objects on every plane, and the third plane in view."""
    opened = open_dock(np.repeat(discs(1), FRAMES, axis=0))
    for number, place in enumerate(([0, 20, 18], [0, 44, 46]), start=1):
        opened.controller.prompting.set_active(number, True)
        opened.points.add(place)
        opened.wait_idle()
    opened.controller.plane.propagate()
    opened.wait_idle()
    opened.viewer.dims.set_current_step(0, 2)
    opened.layer = opened.workspace.target
    opened.full = opened.layer.data.copy()
    return opened


def first_only(opened):
    return np.where(opened.full == 1, 1, 0)


def wait_complete(opened, qtbot):
    qtbot.waitUntil(lambda: not opened.controller.is_display_behind, timeout=3000)


def test_the_plane_in_view_comes_first(propagated, qtbot):
    propagated.controller.objects.show(2, False)
    assert sizes(propagated.layer.data, 2)[2] == 0
    assert sizes(propagated.layer.data, 2)[FRAMES - 1] == 197
    propagated.viewer.dims.set_current_step(0, FRAMES - 1)
    assert sizes(propagated.layer.data, 2)[FRAMES - 1] == 0
    assert 2 not in propagated.layer._slice.image.raw  # what napari has drawn
    assert propagated.controller.is_display_behind
    wait_complete(propagated, qtbot)
    np.testing.assert_array_equal(propagated.layer.data, first_only(propagated))


def test_the_window_answers_meanwhile(propagated, qtbot, monkeypatch):
    write, beats = MaskOverlay.write, []

    def slow(*arguments):
        time.sleep(0.01)
        write(*arguments)

    monkeypatch.setattr(MaskOverlay, "write", slow)
    timer = QTimer()
    timer.timeout.connect(lambda: beats.append(time.perf_counter()))
    timer.start(1)
    qtbot.wait(20)
    propagated.controller.undo()
    wait_complete(propagated, qtbot)
    qtbot.wait(20)
    assert np.diff(beats).max() < 0.2  # of 0.4 s at once
    assert sizes(propagated.layer.data, 2) == [197] + [0] * (FRAMES - 1)


def test_what_follows_at_once_is_not_overtaken(propagated, qtbot):
    controller = propagated.controller
    controller.undo()
    controller.redo()
    controller.objects.show(1, False)
    controller.objects.delete([2])
    controller.undo()
    controller.objects.show(1, True)
    controller.set_protect(False)
    assert controller.is_display_behind
    wait_complete(propagated, qtbot)
    np.testing.assert_array_equal(propagated.layer.data, propagated.full)


def test_another_target_and_back(propagated, qtbot):
    other = propagated.viewer.add_labels(np.zeros_like(propagated.full), name="other")
    for layer in (other, propagated.layer):
        propagated.dock.image.target.chosen.emit(layer)
        propagated.controller.objects.delete([propagated.session.objects[-1].object_id])
    wait_complete(propagated, qtbot)
    # the second object was deleted while results went elsewhere, so its labels are anyone's here
    np.testing.assert_array_equal(propagated.layer.data, propagated.full * (propagated.full == 2))
    np.testing.assert_array_equal(other.data, first_only(propagated))


def test_a_layer_that_is_removed_is_completed(propagated, qtbot, messages):
    propagated.controller.objects.show(2, False)
    propagated.viewer.layers.remove(propagated.layer)
    wait_complete(propagated, qtbot)
    np.testing.assert_array_equal(propagated.layer.data, first_only(propagated))
    assert messages == []


def test_closing_the_dock_completes_the_layer(propagated):
    propagated.controller.objects.show(2, False)
    propagated.dock.close()
    np.testing.assert_array_equal(propagated.layer.data, first_only(propagated))


def test_painting_begins_with_a_complete_layer(propagated):
    propagated.controller.objects.show(2, False)
    layer = propagated.layer
    for mode, left in (("pan_zoom", 197), ("paint", 0)):
        layer.mode = mode
        for callback in layer.mouse_drag_callbacks[:1]:
            callback(layer, None)
        assert sizes(layer.data, 2)[FRAMES - 1] == left


def test_a_label_is_read_from_a_complete_layer(propagated):
    propagated.controller.undo()
    propagated.viewer.layers.selection.active = propagated.layer
    propagated.layer.selected_label = 2
    propagated.controller.redo()
    propagated.viewer.dims.set_current_step(0, FRAMES - 1)
    propagated.controller.plane.use_label()
    propagated.wait_idle()
    geometry = propagated.workspace.geometry()
    assert any(frame == FRAMES - 1 for _, frame in propagated.session.prompts(geometry.key))


def test_an_error_on_a_plane_that_waits_is_told(propagated, qtbot, messages, monkeypatch):
    def fail(*arguments):
        raise OSError("the disk is full")

    propagated.controller.objects.show(2, False)
    monkeypatch.setattr(MaskOverlay, "write", fail)
    wait_complete(propagated, qtbot)
    assert [severity for severity, _ in messages] == ["error"]
    assert "the disk is full" in messages[0][1]
    assert propagated.workspace.target is None


@pytest.mark.parametrize("seed", range(20))
def test_any_changes_end_as_if_each_were_made_at_once(seed, qapp, monkeypatch):
    monkeypatch.setattr(write_queue, "_SLICE_S", 0)  # one plane at a time
    random = np.random.default_rng(seed)
    start = random.choice([0, 0, 9, 2], SHAPE).astype(np.uint8)
    viewer, layer, expected = ViewerModel(), Labels(start.copy()), start.copy()
    viewer.add_layer(Image(np.zeros(SHAPE)))
    viewer.add_layer(layer)
    queue, overlay = WriteQueue(viewer.dims), MaskOverlay()
    writer = LabelsWriter(layer, queue)
    shown = {}

    def some_mask(lengths):
        low = [int(random.integers(length)) for length in lengths]
        high = [int(random.integers(a, b)) + 1 for a, b in zip(low, lengths, strict=True)]
        return mask(*map(slice, low, high), logit=float(random.integers(1, 9)))

    for _ in range(60):
        stack = STACKS[random.integers(len(STACKS))]
        frame = int(random.integers(SHAPE[stack.frame_axis]))
        lengths = [SHAPE[axis] for axis in stack.plane_axes]
        after = {number: some_mask(lengths) for number in OBJECTS if random.random() < 0.5}
        place = plane_key(stack, frame), stack.frame_axis
        change = FrameChange(stack, frame, shown.get(place, {}), after)
        shown[place] = after
        writer.protect = bool(random.integers(2))
        overlay.write(expected, change, writer.protect)
        writer.write(change)
        match random.integers(8):
            case 0:
                viewer.dims.set_current_step(0, int(random.integers(SHAPE[0])))
            case 1:
                viewer.dims.set_current_step(1, int(random.integers(SHAPE[1])))
            case 2:
                viewer.dims.roll()
            case 3:
                QApplication.processEvents()
    queue.close()
    np.testing.assert_array_equal(layer.data, expected)

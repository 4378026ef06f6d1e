"""What masks cover in the Labels layer that they are written to, by the check box of the dock."""

import numpy as np
import pytest
import zarr
from tests.plugin.conftest import sizes


def covering(opened, data):
    """Choose labels of the user's as target, and let masks cover them."""
    layer = opened.viewer.add_labels(data, name="mine")
    opened.dock.image.target.chosen.emit(layer)
    opened.dock.image.protect.setChecked(False)
    return layer


def click_first(opened):
    opened.points.add([0, 20, 18])
    opened.wait_idle()


@pytest.fixture
def taken(stack):
    """Labels of the user's over the upper half of the first disc."""
    taken = np.zeros(stack.shape, np.uint8)
    taken[:, 10:20] = 9
    return taken


@pytest.fixture
def covered(open_dock, stack, taken):
    """A dock with an object, number 10, that covers labels of the user's on the first plane."""
    opened = open_dock(stack)
    opened.mine = covering(opened, taken.copy())
    click_first(opened)
    assert sizes(opened.mine.data, 10)[0] == 197
    return opened


def test_the_check_box_switches_what_is_shown(open_dock, stack, taken):
    opened = open_dock(stack)
    layer = opened.viewer.add_labels(taken.copy(), name="mine")
    opened.dock.image.target.chosen.emit(layer)
    box = opened.dock.image.protect
    assert box.isChecked()
    click_first(opened)
    protected = layer.data.copy()
    assert (protected == 9).sum() == (taken == 9).sum()
    box.click()
    assert sizes(layer.data, 10)[0] == 197
    box.click()
    np.testing.assert_array_equal(layer.data, protected)
    box.click()
    opened.controller.undo()
    np.testing.assert_array_equal(layer.data, taken)


def test_the_switch_is_drawn_at_once(covered, qtbot):
    row, column = 14, 18
    view = covered.mine._slice.image.view
    covered.dock.image.protect.click()
    qtbot.waitUntil(lambda: covered.mine.get_value((0, row, column)) == 9, timeout=1000)
    qtbot.waitUntil(
        lambda: covered.mine._slice.image.view[row, column] == view[row, 40], timeout=1000
    )


def test_deleting_and_hiding_bring_labels_back(covered, taken):
    shown = covered.mine.data.copy()
    objects = covered.controller.objects
    objects.show(10, False)
    np.testing.assert_array_equal(covered.mine.data, taken)
    objects.show(10, True)
    np.testing.assert_array_equal(covered.mine.data, shown)
    objects.delete([10])
    np.testing.assert_array_equal(covered.mine.data, taken)
    covered.controller.undo()
    np.testing.assert_array_equal(covered.mine.data, shown)


def test_a_smaller_mask_brings_labels_back(covered, taken):
    covered.controller.plane.next_candidate()
    covered.wait_idle()
    half = covered.mine.data[0] == 10
    assert 0 < half.sum() < 197
    np.testing.assert_array_equal(covered.mine.data[0], np.where(half, 10, taken[0]))


def test_labels_on_disk_are_restored_by_undo(open_dock, stack, taken, tmp_path):
    opened = open_dock(stack)
    labels = zarr.open(tmp_path / "labels.zarr", mode="w", shape=taken.shape, dtype="uint8")
    labels[:] = taken
    layer = covering(opened, labels)
    click_first(opened)
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert sizes(np.asarray(layer.data), opened.session.objects[0].object_id) == [197] * 6
    opened.controller.undo()
    opened.controller.undo()
    opened.controller.finish_display()
    np.testing.assert_array_equal(labels[:], taken)


def test_another_target_gives_the_first_one_its_labels_back(covered, taken, stack):
    other = np.zeros_like(taken)
    other[:, 20:30] = 8
    second = covered.viewer.add_labels(other.copy(), name="second")
    covered.dock.image.target.chosen.emit(second)
    np.testing.assert_array_equal(covered.mine.data[taken == 9], 9)
    assert sizes(second.data, 10)[0] == 197
    covered.controller.objects.delete([10])
    np.testing.assert_array_equal(second.data, other)
    covered.controller.undo()
    covered.dock.image.target.chosen.emit(covered.mine)
    assert sizes(covered.mine.data, 10)[0] == 197
    covered.controller.objects.delete([10])
    np.testing.assert_array_equal(covered.mine.data, taken)


def test_a_deleted_layer_ends_it(covered, messages):
    covered.viewer.layers.remove(covered.mine)
    covered.dock.image.protect.click()
    covered.points.add([0, 44, 46])
    covered.wait_idle()
    assert sizes(covered.labels(), 10)[0] == 394
    assert not [text for severity, text in messages if severity == "error"]


def test_times_of_a_stack_are_remembered_apart(open_dock, stack):
    image = np.stack([stack] * 2)
    taken = np.full(image.shape, 9, np.uint8)
    opened = open_dock(image)
    layer = covering(opened, taken.copy())
    for time in (0, 1):
        opened.viewer.dims.set_current_step(0, time)
        opened.points.add([time, 0, 20, 18])
        opened.wait_idle()
    assert [sizes(volume, 10)[0] for volume in layer.data] == [197, 197]
    opened.controller.undo()
    np.testing.assert_array_equal(layer.data[1], 9)
    assert sizes(layer.data[0], 10)[0] == 197
    opened.dock.image.protect.click()
    opened.controller.finish_display()
    np.testing.assert_array_equal(layer.data, taken)


@pytest.mark.parametrize("label", [0, 11])
def test_what_is_painted_over_a_covered_label_counts(covered, taken, label):
    layer, place = covered.mine, (0, 14, 18)
    shown = layer.data.copy()
    layer.brush_size = 4
    layer.paint(place, label)
    painted = layer.data == label
    stroke = painted & (shown > 0)
    assert {9, 10} == set(shown[stroke])  # labels of the user's beside the object, too
    assert layer.data[place] == label
    # neither a rewrite nor the end of both masks brings back what was painted over
    covered.dock.image.protect.click()
    assert (layer.data[stroke] == label).all()
    covered.dock.image.protect.click()
    covered.controller.objects.delete([10] if label == 0 else [10, 11])
    np.testing.assert_array_equal(layer.data, np.where(stroke, 0, taken))
    # undo of the stroke does
    covered.controller.undo()
    covered.controller.undo()
    np.testing.assert_array_equal(layer.data, shown)
    covered.controller.redo()
    assert (layer.data[stroke] == label).all()
    covered.controller.undo()
    covered.controller.objects.delete([10])
    np.testing.assert_array_equal(layer.data, taken)


def test_a_stroke_over_labels_of_the_user_is_undone(covered, taken):
    covered.dock.image.protect.click()
    shown = covered.mine.data.copy()
    covered.mine.paint((0, 14, 40), 10)
    assert covered.mine.data[0, 14, 40] == 10
    covered.controller.undo()
    np.testing.assert_array_equal(covered.mine.data, shown)


def test_what_the_layers_own_undo_writes_over_a_mask_is_not_lost(open_dock, stack, taken):
    opened = open_dock(stack)
    layer = covering(opened, taken.copy())
    layer.brush_size = 1
    place = (0, 14, 18)
    layer.paint(place, 0)  # on the user's label, so it is the layer's own
    click_first(opened)
    layer.undo()
    assert layer.data[place] == 9
    opened.dock.image.protect.click()
    opened.dock.image.protect.click()
    assert layer.data[place] == 10
    opened.controller.undo()
    np.testing.assert_array_equal(layer.data, taken)

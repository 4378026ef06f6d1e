"""The dock and the layers it works on: which images, which axes, which results."""

import threading

import dask.array as da
import numpy as np
import pytest
import zarr
from napari.layers import Labels, Points
from tests.plugin.conftest import sizes
from tests.plugin.test_undo import held, settled

from napari_sam2.inference.prompts import PointPrompt


def test_contrast_limits_are_those_of_the_layer(open_dock, stack, engine):
    opened = open_dock(stack, contrast_limits=(10, 150))
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.viewer.layers["image"].contrast_limits = (10, 220)
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    assert engine.limits == [(10, 150), (10, 220)]


def test_auto_contrast_does_not_change_what_the_model_sees(open_dock, engine, stack):
    stack = stack.astype(np.uint16) * 10  # the limits of bytes would not move
    stack[1] *= 2
    opened = open_dock(stack)
    image = opened.viewer.layers["image"]
    image.auto_contrast = True
    shown = []
    for frame in (0, 1):
        opened.viewer.dims.set_current_step(0, frame)
        opened.points.add([frame, 20, 18 + frame])
        opened.wait_idle()
        shown.append(tuple(image.contrast_limits))
    assert shown[0] != shown[1]
    assert len(engine.limits) == 1
    # nor after another image was worked on
    opened.controller.choose_image(opened.viewer.add_image(stack * 1, contrast_limits=(0, 99)))
    opened.workspace.prompts.points.add([1, 20, 19])
    opened.wait_idle()
    assert engine.limits[1:] == [(0, 99)]
    opened.controller.choose_image(image)
    opened.workspace.prompts.points.add([1, 44, 47])
    opened.wait_idle()
    assert opened.session.log[-1].contrast_limits == engine.limits[0]


def test_an_image_added_later_is_taken(open_dock, stack, qtbot):
    opened = open_dock()
    assert opened.dock.image.image.currentText() == "no image"
    opened.viewer.add_image(stack, name="late")
    qtbot.waitUntil(lambda: "SAM 2 points" in opened.viewer.layers, timeout=1000)
    assert opened.dock.image.image.currentText() == "late"
    assert opened.viewer.layers.selection.active.name == "SAM 2 points"
    assert opened.dock.propagate.limits == (0, 5)


def test_scaled_and_moved_layers(open_dock, stack):
    opened = open_dock(stack, scale=(3, 0.5, 0.5), translate=(7, -4, 2))
    mine = Points([[3 * 4 + 7, 20 * 0.5 - 4, 22 * 0.5 + 2]], name="mine")
    opened.viewer.add_layer(mine)
    opened.viewer.dims.set_point(0, 3 * 4 + 7)
    opened.dock.prompts.points.chosen.emit(mine)
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == [0, 0, 0, 0, 197, 0]
    np.testing.assert_array_equal(opened.viewer.layers["SAM 2 labels"].scale, (3, 0.5, 0.5))
    assert mine.features.empty


def test_a_turned_stack_has_frames_along_another_axis(open_dock, stack):
    opened = open_dock(stack)
    opened.viewer.dims.order = (1, 0, 2)  # rows as frames; planes of z and columns
    opened.viewer.dims.set_current_step(1, 20)
    assert opened.dock.propagate.limits == (0, 63)
    opened.points.add([2, 20, 20])
    opened.wait_idle()
    expected = np.zeros_like(stack, dtype=bool)
    expected[:, 20] = (stack[:, 20] > 0) & (np.arange(64) < 34)
    np.testing.assert_array_equal(opened.labels() == 1, expected)


def test_time_stays_where_its_slider_is(open_dock, stack):
    opened = open_dock(np.stack([stack, stack[:, ::-1, ::-1]]))
    assert opened.dock.image.axis.currentText() == "axis 1"
    opened.viewer.dims.current_step = (1, 2, 0, 0)
    opened.points.add([1, 2, 63 - 20, 63 - 20])
    opened.points.add([0, 2, 20, 20])
    opened.wait_idle()
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert sizes(opened.labels()[1], 1) == [197] * 6
    assert not opened.labels()[0].any()
    opened.viewer.dims.set_current_step(0, 0)
    opened.controller.plane.run()
    opened.wait_idle()
    assert sizes(opened.labels()[0], 1) == [0, 0, 197, 0, 0, 0]
    assert sizes(opened.labels()[1], 1) == [197] * 6


def test_time_as_frame_axis(open_dock, stack):
    opened = open_dock(np.stack([stack] * 3), axis_labels=("t", "z", "y", "x"))
    section = opened.dock.image
    assert [section.axis.itemText(index) for index in range(2)] == ["t", "z"]
    assert opened.dock.propagate.stop_when_absent.isChecked()
    section.axis_chosen.emit(0)
    assert opened.dock.propagate.limits == (0, 2)
    assert not opened.dock.propagate.stop_when_absent.isChecked()
    opened.viewer.dims.current_step = (1, 4, 0, 0)
    opened.points.add([1, 4, 20, 22])
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert [sizes(volume, 1)[4] for volume in opened.labels()] == [197] * 3


def test_an_axis_without_a_name_is_said_to_be_time(open_dock, stack):
    opened = open_dock(stack)
    section, absent = opened.dock.image, opened.dock.propagate.stop_when_absent
    assert not section.kind.isHidden()
    assert (section.kind.currentText(), absent.isChecked()) == ("is z", True)
    for row, wanted in ((1, False), (0, True), (1, False)):
        section.kind.setCurrentIndex(row)
        section.kind.activated.emit(row)
        assert absent.isChecked() is wanted
    opened.viewer.add_image(stack, name="other")  # is z until that is said of it, too
    opened.controller.choose_image(opened.viewer.layers["other"])
    assert (section.kind.currentText(), absent.isChecked()) == ("is z", True)
    opened.controller.choose_image(opened.viewer.layers["image"])
    assert (section.kind.currentText(), absent.isChecked()) == ("is time", False)
    opened.viewer.dims.axis_labels = ("z", "y", "x")
    assert section.kind.isHidden()
    assert absent.isChecked()


@pytest.mark.parametrize(("unit", "ends"), [("second", False), ("um", True)])
def test_a_unit_tells_what_an_axis_is(open_dock, stack, unit, ends):
    opened = open_dock(stack, units=(unit, "um", "um"))
    assert opened.dock.image.kind.isHidden()
    assert opened.dock.propagate.stop_when_absent.isChecked() is ends


def test_a_labels_layer_of_the_user_as_target(open_dock, stack):
    opened = open_dock(stack)
    taken = np.zeros(stack.shape, np.uint8)
    taken[:, :22] = 4
    mine = opened.viewer.add_labels(taken, name="mine")
    opened.viewer.add_labels(np.zeros((3, 3), int), name="too small")
    listed = [opened.dock.image.target.itemText(index) for index in range(2)]
    assert listed == ["mine", "new labels layer"]
    opened.dock.image.target.chosen.emit(mine)
    assert opened.controller.prompting.active == (5, True)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    assert (mine.data[:, :22] == 4).all()
    np.testing.assert_array_equal(
        mine.data[0, 22:] == 5, (stack[0, 22:] > 0) & (np.arange(64) < 32)
    )
    assert "SAM 2 labels" not in opened.viewer.layers


def test_another_target_gets_everything_that_was_found(open_dock, stack):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate()
    opened.wait_idle()
    mine = opened.viewer.add_labels(np.zeros(stack.shape, np.uint8), name="mine")
    opened.dock.image.target.chosen.emit(mine)
    np.testing.assert_array_equal(mine.data, opened.labels())


def test_combos_follow_the_viewer(open_dock, stack):
    opened = open_dock(stack)
    combo = opened.dock.image.image
    opened.viewer.add_image(stack, name="second")
    assert [combo.itemText(index) for index in range(3)] == ["second", "image", "no image"]
    assert combo.currentText() == "image"
    opened.viewer.layers["image"].name = "first"
    assert combo.currentText() == "first"
    opened.viewer.layers.remove("second")
    assert combo.count() == 2


def test_another_image_takes_the_place_of_a_deleted_one(open_dock, stack, qtbot):
    opened = open_dock(stack, stack[:4])
    assert opened.workspace.image.name == "image [1]"
    opened.viewer.layers.remove("image [1]")
    qtbot.waitUntil(lambda: opened.workspace.image is not None, timeout=1000)
    assert opened.dock.image.image.currentText() == "image"
    assert opened.dock.propagate.limits == (0, 5)


def test_going_back_to_an_image_finds_its_labels(open_dock, stack):
    opened = open_dock(stack, stack[:, ::-1])
    second, first = opened.viewer.layers["image [1]"], opened.viewer.layers["image"]
    opened.points.add([0, 43, 18])
    opened.wait_idle()
    opened.dock.image.image.chosen.emit(first)
    assert opened.workspace.target is None
    opened.workspace.prompts.points.add([0, 20, 18])
    opened.wait_idle()
    assert opened.workspace.target.name == "SAM 2 labels of image"
    opened.dock.image.image.chosen.emit(second)
    assert opened.workspace.target.name == "SAM 2 labels"
    assert sizes(opened.labels(), 1)[0] == 197


def test_labels_on_disk_are_looked_through_before_results_go_there(
    open_dock, stack, qtbot, tmp_path, messages
):
    opened = open_dock(stack)
    labels = zarr.open(tmp_path / "labels.zarr", mode="w", shape=stack.shape, dtype="uint16")
    labels[5, :4] = 1
    labels[4, 60:] = 40
    mine = opened.viewer.add_labels(labels, name="mine")
    opened.dock.image.target.chosen.emit(mine)
    assert opened.workspace.target is None
    assert "are looked through" in messages[-1][1]
    qtbot.waitUntil(lambda: opened.workspace.target is mine, timeout=5000)
    assert opened.controller.prompting.active == (41, True)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    assert sizes(labels[:], 41)[0] == 197
    assert [kind for kind, _ in messages] == ["info"]


def test_results_stay_where_they_are_until_labels_are_looked_through(
    open_dock, stack, qtbot, messages
):
    looked, go_on = threading.Event(), threading.Event()

    def plane(block, block_info=None):
        if block_info[0]["chunk-location"][0] == 5:  # which is not in view
            looked.set()
            assert go_on.wait(5)
        return block

    opened = open_dock(stack)
    held = da.from_array(np.full(stack.shape, 3, np.uint16), chunks=(1, -1, -1))
    mine = Labels(held.map_blocks(plane, meta=np.empty((0, 0, 0), np.uint16)), name="mine")
    opened.viewer.add_layer(mine)
    opened.dock.image.target.chosen.emit(mine)
    qtbot.waitUntil(looked.is_set, timeout=5000)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    assert opened.workspace.target.name == "SAM 2 labels"
    assert sizes(opened.labels(), 1)[0] == 197
    opened.dock.image.target.chosen.emit(opened.workspace.target)  # thinks better of it
    go_on.set()
    qtbot.wait(200)
    assert opened.workspace.target.name == "SAM 2 labels"


def test_labels_drawn_in_a_layer_while_it_was_not_in_use_keep_their_numbers(
    open_dock, stack, messages
):
    opened = open_dock(stack)
    mine = opened.viewer.add_labels(np.zeros(stack.shape, np.uint8), name="mine")
    opened.dock.image.target.chosen.emit(mine)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.dock.image.target.chosen.emit(None)
    mine.data[5, 60:] = 40
    opened.dock.image.target.chosen.emit(mine)
    opened.controller.new_object()
    assert opened.controller.prompting.active == (41, True)
    assert messages == []  # what was written there itself is no label of the user's


def test_numbers_that_are_taken_in_the_layer_are_told_once(open_dock, stack, messages):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    taken = np.zeros(stack.shape, np.uint8)
    taken[:, :5] = np.arange(1, 6)[:, np.newaxis]
    mine = opened.viewer.add_labels(taken.copy(), name="mine")
    opened.dock.image.target.chosen.emit(mine)
    assert messages[0][0] == "warning"
    assert "“mine” had labels up to 5 before, and object 1 has a number" in messages[0][1]
    opened.points.add([0, 21, 18])
    opened.controller.prompting.set_active(3, True)
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    assert "and object 3 has" in messages[-1][1]
    # what was written there since is no label of its own
    opened.dock.image.target.chosen.emit(opened.viewer.layers["SAM 2 labels"])
    opened.dock.image.target.chosen.emit(mine)
    opened.controller.new_object()
    assert opened.controller.prompting.active[0] == 6
    assert len(messages) == 2


def test_each_image_has_prompts_of_its_own(open_dock, stack, qtbot):
    opened = open_dock(stack[0], stack[0, ::-1])
    second, first = opened.viewer.layers["image [1]"], opened.viewer.layers["image"]
    opened.points.add([43, 18])
    opened.controller.choose_image(first)  # sooner than a second click would be taken
    assert opened.workspace.prompts.points.name == "SAM 2 points of image"
    opened.workspace.prompts.points.add([20, 18])
    opened.wait_idle()
    assert held(opened) == {(2, 0): (PointPrompt((20, 18)),)}  # another object than the first's
    opened.controller.choose_image(second)
    assert opened.workspace.prompts.points is opened.points
    opened.points.add([43, 19])
    opened.wait_idle()
    assert held(opened) == {(1, 0): (PointPrompt((43, 18)), PointPrompt((43, 19)))}
    opened.controller.undo()
    opened.controller.undo()
    settled(opened, qtbot)
    # the click in the other image, which stays as it is in use
    assert opened.workspace.prompts.points is opened.points
    assert [len(points.data) for points in prompt_layers(opened)] == [1, 0]
    assert held(opened) == {(1, 0): (PointPrompt((43, 18)),)}


def test_an_image_leaves_no_empty_layers(open_dock, stack, qtbot):
    opened = open_dock(stack)
    first, second = opened.workspace.image, opened.viewer.add_image(stack[::-1], name="other")
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.choose_image(second)
    names = [layer.name for layer in opened.viewer.layers]
    assert "SAM 2 shapes" not in names
    assert {"SAM 2 points", "SAM 2 points of other"} <= set(names)
    opened.controller.choose_image(first)
    assert opened.workspace.prompts.points is opened.points
    assert "SAM 2 points of other" not in opened.viewer.layers
    # undone while another image is in use, and redone in a layer that is made again
    opened.controller.undo()
    opened.controller.choose_image(second)
    assert opened.points not in opened.viewer.layers
    opened.controller.redo()
    opened.controller.choose_image(first)
    opened.wait_idle()
    np.testing.assert_array_equal(opened.workspace.prompts.points.data, [[0, 20, 18]])
    assert opened.workspace.prompts.points in opened.viewer.layers


def test_undo_in_an_image_of_other_axes_goes_back_to_its_own_layer(open_dock, stack, qtbot):
    opened = open_dock(stack, stack[0])
    opened.points.add([20, 18])
    opened.wait_idle()
    opened.controller.choose_image(opened.viewer.layers["image"])
    points = opened.workspace.prompts.points
    points.add([0, 44, 46])
    opened.wait_idle()
    opened.controller.undo()
    settled(opened, qtbot)
    assert opened.workspace.prompts.points is points
    assert [len(points.data) for points in prompt_layers(opened)] == [1, 0]


def test_a_layer_of_the_user_is_read_for_its_image_alone(open_dock, stack):
    opened = open_dock(stack, stack[:, ::-1])
    second, first = opened.viewer.layers["image [1]"], opened.viewer.layers["image"]
    mine = opened.viewer.add_points([[0, 43, 18]], name="mine")
    opened.dock.prompts.points.chosen.emit(mine)
    opened.wait_idle()
    opened.controller.choose_image(first)
    assert opened.workspace.prompts.points is not mine
    opened.controller.plane.run()
    assert held(opened) == {}
    opened.controller.choose_image(second)
    assert opened.workspace.prompts.points is mine


def test_masks_stay_when_prompts_are_deleted_while_another_image_is_in_use(open_dock, stack):
    opened = open_dock(stack, stack[:, ::-1])
    second, first = opened.viewer.layers["image [1]"], opened.viewer.layers["image"]
    opened.points.add([0, 43, 18])
    opened.wait_idle()
    opened.controller.choose_image(first)
    opened.viewer.layers.remove(opened.points)
    opened.controller.choose_image(second)
    opened.controller.plane.run()
    assert held(opened) == {}
    assert sizes(opened.labels(), 1)[0] == 197


def prompt_layers(opened):
    """Our Points layers, in the order in which they were made."""
    return [layer for layer in opened.viewer.layers if layer.name.startswith("SAM 2 points")]


@pytest.mark.parametrize(
    "change",
    [
        {"scale": (2, 0.5, 0.5)},
        {"translate": (3, 10, 20)},
        {"rotate": 30},
        {"affine": np.diag([1, 2, 3, 1.0])},
        {"units": ("um", "um", "um"), "scale": (2, 0.5, 0.5)},
    ],
)
def test_prompts_and_masks_stay_on_the_pixels_of_an_image_that_is_moved(open_dock, stack, change):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    held, image = opened.session.prompts(opened.session.stacks[0]), opened.workspace.image
    for name, value in change.items():
        setattr(image, name, value)
    for layer in (opened.points, opened.shapes, opened.workspace.target):
        np.testing.assert_array_equal(layer.extent.step, image.extent.step)
        np.testing.assert_allclose(layer.data_to_world((1, 2, 3)), image.data_to_world((1, 2, 3)))
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    prompts = opened.session.prompts(opened.session.stacks[0])
    assert prompts[1, 0] == held[1, 0]
    assert prompts[2, 0] == (PointPrompt((44, 46)),)


def test_numbers_beyond_those_of_small_labels(open_dock, stack):
    opened = open_dock(stack)
    labels = np.zeros(stack.shape, np.uint32)
    labels[5, :2] = 100_000
    mine = opened.viewer.add_labels(labels)
    opened.dock.image.target.chosen.emit(mine)
    assert opened.controller.prompting.active == (100_001, True)
    opened.dock.prompts.negative.click()
    assert opened.controller.prompting.active == (100_001, False)


def test_layers_follow_an_image_that_was_moved_while_another_was_in_use(open_dock, stack):
    opened = open_dock(stack, stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    image, points = opened.workspace.image, opened.points
    opened.dock.image.image.chosen.emit(opened.viewer.layers["image"])
    image.translate = (0, 5, 5)
    opened.dock.image.image.chosen.emit(image)
    assert tuple(points.translate) == (0, 5, 5)
    points.add([1, 20, 18])
    opened.wait_idle()
    assert opened.session.prompts(opened.session.stacks[0])[1, 0] == (PointPrompt((20, 18)),)


def test_the_dock_says_whose_the_next_point_in_an_empty_layer_of_the_user_is(
    open_dock, stack, qtbot, messages
):
    opened = open_dock(stack)
    mine = opened.viewer.add_points(np.empty((0, 3)), name="mine")
    opened.controller.choose_points(mine)
    mine.add([0, 20, 18])
    opened.controller.new_object()
    mine.add([0, 44, 46])
    opened.controller.toggle_sign()
    mine.add([0, 50, 60])
    opened.wait_idle()
    assert list(mine.features["object"]) == [1, 2, 2]
    assert list(mine.features["sign"]) == ["positive", "positive", "negative"]
    assert messages == []


def test_a_layer_of_the_user_that_names_no_objects_is_told(open_dock, stack, messages):
    opened = open_dock(stack)
    mine = opened.viewer.add_points([[0, 20, 18], [0, 44, 46]], name="mine")
    opened.controller.choose_points(mine)
    assert "All in “mine” belongs to object 1" in messages[0][1]
    assert len(mine.features.columns) == 0

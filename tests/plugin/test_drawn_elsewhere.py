"""What is drawn or painted for an image that is not in use makes it the one in use."""

import numpy as np
import pytest
from qtpy.QtCore import Qt
from tests.plugin.conftest import sizes
from tests.plugin.test_dock import canvas_of, canvas_position, click
from tests.plugin.test_saving import folders
from tests.plugin.test_undo import settled

from napari_sam2.session.folder import read_session
from napari_sam2.session.masks import plane_mask


@pytest.fixture
def shown(open_dock, stack, qtbot):
    """Two images in a window; the second has object 1, and the first is in use."""
    opened = open_dock(stack[:, ::-1], stack, show=True)
    click(opened, qtbot, 20, 18)
    settled(opened, qtbot)
    opened.image, opened.other = (opened.viewer.layers[name] for name in ("image [1]", "image"))
    opened.dock.image.image.chosen.emit(opened.other)
    qtbot.wait(250)
    return opened


def test_a_click_in_the_points_of_another_image_goes_there(shown, qtbot):
    shown.viewer.layers.selection.active = shown.points
    click(shown, qtbot, 44, 46)
    settled(shown, qtbot)
    assert shown.workspace.image is shown.image
    assert shown.viewer.layers.selection.active is shown.points
    assert shown.points.mode == "add"
    assert sizes(shown.labels(), 1)[0] == 2 * 197


def test_a_box_drawn_in_the_shapes_of_another_image_goes_there_once_it_is_complete(two, qtbot):
    two.controller.use_tool("box")
    shapes = two.workspace.prompts.shapes
    shapes.add(np.array([[0, 12, 9], [0, 12, 27], [0, 28, 27], [0, 28, 9]]), shape_type="rectangle")
    settled(two, qtbot)
    two.controller.new_object()
    two.choose(two.other)
    two.viewer.layers.selection.active = shapes
    shapes.mode = "add_rectangle"
    shapes._is_creating = True
    shapes.add(np.array([[0, 36, 38], [0, 36, 54], [0, 52, 54], [0, 52, 38]]))
    qtbot.wait(250)
    assert two.workspace.image is two.other
    shapes._is_creating = False
    settled(two, qtbot)
    assert two.workspace.image is two.image
    assert (two.viewer.layers.selection.active, shapes.mode) == (shapes, "add_rectangle")
    assert sizes(two.labels(), 2)[0] == 197


def test_what_is_drawn_for_another_image_during_a_run_is_saved_at_once(two, qtbot, sessions):
    points = two.points
    two.choose(two.other)
    two.workspace.prompts.points.add([0, 43, 18])
    settled(two, qtbot)
    two.propagate()
    two.viewer.layers.selection.active = points
    points.add([0, 44, 46])
    qtbot.waitUntil(lambda: two.workspace.image is two.image, timeout=1000)

    def saved_prompts():
        prompted = (read_session(path).log for path in folders(sessions))
        return [len(each.prompts) for log in prompted for each in log if hasattr(each, "prompts")]

    qtbot.waitUntil(lambda: sorted(saved_prompts()) == [1, 1, 2], timeout=2000)
    two.finish()


def test_undo_in_the_active_points_of_another_image_does_not_go_there(two, qtbot):
    points = two.points
    two.choose(two.other)
    two.viewer.layers.selection.active = points
    two.controller.undo()
    settled(two, qtbot)
    assert len(points.data) == 0
    assert two.workspace.image is two.other


def paint_elsewhere(two, qtbot):
    """Paint object 1 in its masks while the other image is in use; gives the layer."""
    layer = two.workspace.target
    two.choose(two.other)
    two.viewer.layers.selection.active = layer
    layer.selected_label = 1
    layer.paint((0, 5, 50), 1)
    settled(two, qtbot)
    return layer


def test_painting_in_masks_of_another_image_goes_there(two, qtbot):
    layer = paint_elsewhere(two, qtbot)
    assert two.workspace.image is two.image
    assert two.viewer.layers.selection.active is layer  # for the next stroke
    (stack,) = two.session.stacks
    assert plane_mask(two.session.masks(stack, 0)[1], (64, 64))[5, 50]
    two.controller.undo()
    settled(two, qtbot)
    assert not two.labels()[0, 5, 50]
    assert sizes(two.labels(), 1)[0] == 197


def test_erasing_a_label_of_the_user_in_the_masks_of_another_image_does_not_go_there(two, qtbot):
    mine = np.zeros((6, 64, 64), int)
    mine[0, 2:6, 2:6] = 900
    layer = two.viewer.add_labels(mine, name="mine")
    two.controller.choose_target(layer)
    settled(two, qtbot)
    two.choose(two.other)
    two.viewer.layers.selection.active = layer
    layer.paint((0, 4, 4), 0)
    settled(two, qtbot)
    assert two.workspace.image is two.other


def test_the_brush_keeps_its_label_in_the_masks_of_another_image(two, qtbot):
    two.controller.new_object()
    two.points.add([0, 44, 46])
    settled(two, qtbot)
    layer = paint_elsewhere(two, qtbot)
    assert (two.workspace.image, layer.selected_label) == (two.image, 1)


def test_a_point_that_is_dragged_in_another_image_stays_selected(shown, qtbot):
    points = shown.points
    shown.viewer.layers.selection.active = points
    points.mode = "select"
    canvas, button = canvas_of(shown), Qt.MouseButton.LeftButton
    qtbot.mousePress(canvas, button, pos=canvas_position(shown, 20, 18))
    for row in (22, 24):
        qtbot.mouseMove(canvas, canvas_position(shown, row, 18))
        qtbot.wait(30)
    qtbot.mouseRelease(canvas, button, pos=canvas_position(shown, 24, 18))
    settled(shown, qtbot)
    assert shown.workspace.image is shown.image
    assert (points.mode, set(points.selected_data)) == ("select", {0})
    assert points.data[0][1] == pytest.approx(24, abs=0.6)


def test_whoever_leaves_a_shape_of_another_image_stays(two, qtbot):
    two.controller.use_tool("outline")
    shapes = two.workspace.prompts.shapes
    shapes.add(np.array([[0, 12, 9], [0, 12, 27], [0, 28, 27]]), shape_type="polygon")
    settled(two, qtbot)
    two.choose(two.other)
    here = two.workspace.prompts.points
    two.viewer.layers.selection.active = shapes
    shapes.mode = "add_polygon"
    shapes._is_creating = True
    shapes.add(np.array([[0, 36, 38], [0, 36, 54], [0, 52, 54]]), shape_type="path")
    qtbot.wait(30)
    two.viewer.layers.selection.active = here
    qtbot.wait(200)
    assert two.workspace.image is two.other
    assert here in two.viewer.layers


def test_what_is_shown_while_earlier_clicks_are_taken_does_not_count(two, qtbot, engine):
    points = two.points
    two.propagate()
    points.add([0, 44, 46])
    qtbot.wait(250)
    two.controller.objects.rename(1, "nucleus")
    points.add([0, 44, 47])
    qtbot.wait(250)
    two.choose(two.other)
    two.viewer.layers.selection.active = points  # to look at it
    two.finish()
    assert two.workspace.image is two.other


def test_the_frame_axis_of_another_image_is_as_it_was_chosen(open_dock, stack, qtbot):
    film = np.stack([stack] * 2)
    opened = open_dock(film[:, :, ::-1], film)
    image, points = opened.workspace.image, opened.points
    opened.workspace.choose_frame_axis(0)
    points.add([0, 0, 20, 18])
    settled(opened, qtbot)
    opened.dock.image.image.chosen.emit(opened.viewer.layers["image"])
    qtbot.wait(250)
    opened.viewer.layers.selection.active = points
    points.add([0, 0, 44, 46])
    settled(opened, qtbot)
    assert opened.workspace.image is image
    assert [key.frame_axis for key in opened.session.stacks] == [0]


def test_a_click_in_3d_draws_nothing_in_the_points_of_another_image(shown, qtbot):
    shown.viewer.dims.ndisplay = 3
    qtbot.wait(200)
    shown.viewer.layers.selection.active = shown.points
    click(shown, qtbot, 32, 32)
    settled(shown, qtbot)
    assert len(shown.points.data) == 1
    assert shown.workspace.image is shown.other
    shown.dock.image.image.chosen.emit(shown.image)
    assert shown.points.mode == "pan_zoom"


def test_a_layer_that_two_images_share_goes_to_neither(open_dock, stack, qtbot):
    opened = open_dock(stack, stack[:, ::-1], stack[:, :, ::-1])
    first, second, third = (opened.viewer.layers[f"image{n}"] for n in ("", " [1]", " [2]"))
    mine = opened.viewer.add_points(np.empty((0, 3)))
    for image in (first, second):
        opened.controller.choose_image(image)
        opened.controller.choose_points(mine)
    opened.controller.choose_image(third)
    opened.viewer.layers.selection.active = mine
    mine.add([0, 43, 18])
    settled(opened, qtbot)
    assert opened.workspace.image is third
    opened.viewer.layers.remove(first)
    mine.add([0, 19, 18])
    settled(opened, qtbot)
    assert opened.workspace.image is second

"""The dock in a real viewer, driven by mouse and keys."""

import subprocess
import sys
import threading

import numpy as np
import pytest
from napari.layers import Labels, Points, Shapes
from napari.utils.key_bindings import coerce_keybinding
from napari.utils.shortcuts import default_shortcuts
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import QWidget
from tests.plugin.conftest import sizes

from napari_sam2.inference.prompts import PolygonPrompt, ScribblePrompt
from napari_sam2.plugin import keys
from napari_sam2.session.pass_request import PassRequest
from napari_sam2.session.values import ModelChoice


def canvas_of(dock):
    return dock.viewer.window._qt_viewer.canvas.native


def click(dock, qtbot, row, column, button=Qt.MouseButton.LeftButton):
    """Click where the canvas shows a position of the 2D view, in world units."""
    qtbot.wait(50)  # until the canvas has its size
    position = canvas_position(dock, row, column)
    qtbot.mouseMove(canvas_of(dock), position)
    qtbot.mouseClick(canvas_of(dock), button, pos=position)


def canvas_position(dock, row, column):
    view = dock.viewer.window._qt_viewer.canvas.view
    x, y = (view.transform * view.scene.transform).map([column, row])[:2]
    return QPoint(round(x), round(y))


def press(dock, qtbot, key):
    *modifiers, letter = key.split("-")
    modifier = Qt.KeyboardModifier.ShiftModifier if modifiers else Qt.KeyboardModifier.NoModifier
    qtbot.keyClick(canvas_of(dock), getattr(Qt.Key, f"Key_{letter}"), modifier)


def test_opens_ready_and_the_first_click_gives_a_mask(open_dock, stack, qtbot, messages):
    opened = open_dock(stack, show=True)
    assert opened.viewer.layers.selection.active is opened.points
    opened.viewer.dims.set_current_step(0, 2)
    qtbot.wait(100)
    click(opened, qtbot, 20, 20)
    qtbot.waitUntil(lambda: "SAM 2 labels" in opened.viewer.layers, timeout=3000)
    opened.wait_idle()
    np.testing.assert_allclose(opened.points.data, [[2, 20, 20]], atol=0.5)
    np.testing.assert_array_equal(opened.labels()[2] == 1, (stack[2] > 0) & (np.arange(64) < 32))
    assert sizes(opened.labels(), 1)[3] == 0
    assert opened.viewer.layers.selection.active is opened.points
    assert messages == []


def test_the_right_button_adds_a_negative_point(open_dock, stack, qtbot):
    opened = open_dock(stack, show=True)
    click(opened, qtbot, 20, 20)
    click(opened, qtbot, 44, 44, Qt.MouseButton.RightButton)
    qtbot.waitUntil(lambda: opened.controller.prompting.active == (1, True), timeout=1000)
    click(opened, qtbot, 24, 20)
    assert opened.points.features["sign"].tolist() == ["positive", "negative", "positive"]
    assert [str(symbol) for symbol in opened.points.symbol] == ["disc", "x", "disc"]
    opened.wait_idle()


def test_a_second_object_a_negative_click_and_both_ways(open_dock, stack, qtbot, engine):
    opened = open_dock(stack, show=True)
    opened.viewer.dims.set_current_step(0, 2)
    qtbot.wait(100)
    click(opened, qtbot, 20, 20)
    press(opened, qtbot, keys.NEW_OBJECT)
    click(opened, qtbot, 44, 44)
    press(opened, qtbot, keys.TOGGLE_SIGN)
    click(opened, qtbot, 5, 5)
    opened.wait_idle()
    assert opened.points.features["object"].tolist() == [1, 2, 2]
    assert opened.points.features["sign"].tolist() == ["positive", "positive", "negative"]
    assert sizes(opened.labels(), 2)[2] == 197
    press(opened, qtbot, keys.PROPAGATE)
    qtbot.waitUntil(lambda: opened.controller.runs.is_busy, timeout=1000)
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == sizes(opened.labels(), 2) == [197] * 6
    assert opened.dock.footer.progress.text() == "6 of 6 planes"
    assert opened.dock.footer.status.text() == "Done: 6 planes"
    assert len(engine.predictors) == 1


def test_a_rectangle_is_a_box(open_dock, stack):
    opened = open_dock(stack)
    opened.viewer.dims.set_current_step(0, 3)
    opened.shapes.add_rectangles([[3, 10, 10], [3, 10, 32], [3, 32, 32], [3, 32, 10]])
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == [0, 0, 0, 197, 0, 0]


def test_a_polygon_is_a_mask_and_a_scribble_is_clicks(open_dock, stack):
    opened = open_dock(stack)
    opened.viewer.dims.set_current_step(0, 3)
    opened.shapes.add_polygons([[3, 0, 40], [3, 0, 50], [3, 10, 50]])
    opened.shapes.add_paths([[3, 20, 17], [3, 20, 27]])
    opened.wait_idle()
    (stack_key,) = opened.session.stacks
    drawn = PolygonPrompt(((0, 40), (0, 50), (10, 50))), ScribblePrompt(((20, 17), (20, 27)))
    assert opened.session.prompts(stack_key) == {(1, 3): drawn}
    assert opened.labels()[3, 3, 47] == 1
    assert opened.labels()[3, 7, 42] == 0
    assert opened.labels()[3, 20, 21] == 1


def test_keys_do_not_take_the_pen_away(open_dock, stack):
    opened = open_dock(stack)
    opened.viewer.layers.selection.active = opened.shapes
    opened.shapes.mode = "add_path"
    opened.controller.toggle_sign()
    assert opened.viewer.layers.selection.active is opened.shapes
    assert opened.shapes.mode == "add_path"
    opened.shapes.add_paths([[0, 20, 17], [0, 20, 27]])
    assert opened.shapes.features["sign"].tolist() == ["negative"]
    opened.viewer.layers.selection.active = opened.viewer.layers["image"]
    opened.controller.new_object()
    assert opened.viewer.layers.selection.active is opened.points


@pytest.mark.parametrize("finish", ["Key_Escape", "double click"])
def test_drawing_a_polygon_by_mouse(open_dock, stack, qtbot, messages, engine, finish):
    opened = open_dock(stack, show=True)
    opened.viewer.layers.selection.active = opened.shapes
    opened.shapes.mode = "add_polygon"
    qtbot.wait(200)  # until the canvas has its size
    for row, column in ((8, 8), (8, 30), (32, 30), (32, 8)):
        # The corner that is drawn follows the mouse, which has to arrive before it is pressed.
        qtbot.mouseMove(canvas_of(opened), canvas_position(opened, row, column))
        qtbot.wait(100)
        click(opened, qtbot, row, column)
        qtbot.wait(200)  # longer than an edit takes to settle
    assert engine.predictors == []
    if finish == "double click":
        last = canvas_position(opened, 32, 8)
        qtbot.mouseDClick(canvas_of(opened), Qt.MouseButton.LeftButton, pos=last)
    else:
        qtbot.keyClick(canvas_of(opened), getattr(Qt.Key, finish))
    opened.wait_idle()
    assert opened.shapes.shape_type == ["polygon"]
    assert opened.labels()[0, 20, 18] == 1
    assert messages == []


def begin_polygon(opened, qtbot, corners):
    opened.viewer.layers.selection.active = opened.shapes
    opened.shapes.mode = "add_polygon"
    qtbot.wait(200)
    for row, column in corners:
        qtbot.mouseMove(canvas_of(opened), canvas_position(opened, row, column))
        qtbot.wait(100)
        click(opened, qtbot, row, column)
        qtbot.wait(100)


@pytest.mark.parametrize("corners", [[(8, 8)], [(8, 8), (8, 30), (32, 30), (32, 8)]])
def test_undo_takes_a_shape_that_is_being_drawn_alone(open_dock, stack, qtbot, messages, corners):
    opened = open_dock(stack, show=True)
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    before = opened.labels().copy()
    begin_polygon(opened, qtbot, corners)
    opened.controller.undo()
    opened.wait_idle()
    assert len(opened.shapes.data) == 0
    assert len(opened.points.data) == 1
    np.testing.assert_array_equal(opened.labels(), before)
    begin_polygon(opened, qtbot, [(8, 8), (8, 30), (32, 30), (32, 8)])
    qtbot.keyClick(canvas_of(opened), Qt.Key.Key_Escape)
    opened.wait_idle()
    assert opened.labels()[0, 20, 18] == 1
    assert messages == []


def test_a_shape_that_is_being_drawn_is_not_read(open_dock, stack, qtbot, messages):
    opened = open_dock(stack, show=True)
    begin_polygon(opened, qtbot, [(8, 8), (8, 30)])
    opened.controller.new_object()
    assert messages == []
    assert not opened.session.objects
    opened.controller.objects.delete([1])  # draws what is left in the layer
    qtbot.keyClick(canvas_of(opened), Qt.Key.Key_Escape)
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    assert opened.labels()[0, 44, 46] == 2


def test_what_is_drawn_after_an_outline_that_was_given_up(open_dock, stack, qtbot, messages):
    opened = open_dock(stack, show=True)
    begin_polygon(opened, qtbot, [(8, 8)])
    qtbot.keyClick(canvas_of(opened), Qt.Key.Key_Escape)
    opened.controller.prompting.set_active(2, True)
    opened.shapes.add_rectangles([[0, 12, 10], [0, 12, 26], [0, 28, 26], [0, 28, 10]])
    opened.wait_idle()
    assert list(opened.shapes.features["object"]) == [2]
    assert opened.labels()[0, 20, 18] == 2


def test_a_click_is_no_box(open_dock, stack, messages):
    opened = open_dock(stack)
    opened.shapes.add_rectangles([[0, 20, 18], [0, 20, 18.4], [0, 20.5, 18.4], [0, 20.5, 18]])
    opened.wait_idle()
    assert "smaller than a pixel and left out" in messages[-1][1]
    assert not opened.session.objects


def test_a_dock_that_is_opened_again_leaves_the_objects_of_the_first(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.viewer.window.remove_dock_widget(opened.dock)
    _, dock = opened.viewer.window.add_plugin_dock_widget("napari-sam2", "Click and track")
    qtbot.waitUntil(lambda: dock.controller.prompting.active == (2, True))


def test_a_fast_second_change_replaces_the_first(open_dock, stack, engine):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.points.data = [[0, 44, 46]]
    opened.wait_idle()
    assert [call[0] for call in engine.predictors[0].calls] == ["add"]
    assert (opened.labels()[0, 40:50, 40:50] == 1).any()


def test_without_auto_run_the_button_runs(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.dock.prompts.auto_run.click()
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    assert "SAM 2 labels" not in opened.viewer.layers
    qtbot.mouseClick(opened.dock.prompts.run, Qt.MouseButton.LeftButton)
    opened.wait_idle()
    assert sizes(opened.labels(), 1)[0] == 197


def test_a_deleted_prompt_takes_its_mask_along(open_dock, stack):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    opened.points.selected_data = {0}
    opened.points.remove_selected()
    opened.wait_idle()
    assert sizes(opened.labels(), 1)[0] == 0
    assert sizes(opened.labels(), 2)[0] == 197


@pytest.mark.parametrize(("direction", "reached"), [("forward", (2, 5)), ("backward", (0, 2))])
def test_directions(open_dock, stack, qtbot, direction, reached):
    opened = open_dock(stack)
    opened.points.add([2, 20, 20])
    section = opened.dock.propagate
    section.direction.setCurrentIndex(section.direction.findData(direction))
    qtbot.mouseClick(section.run, Qt.MouseButton.LeftButton)
    opened.wait_idle()
    expected = [197 if reached[0] <= frame <= reached[1] else 0 for frame in range(6)]
    assert sizes(opened.labels(), 1) == expected


def test_a_range(open_dock, stack, qtbot, engine):
    opened = open_dock(stack)
    opened.points.add([2, 20, 20])
    section = opened.dock.propagate
    assert section.limits == (0, 5)
    section.first.setValue(1)
    section.last.setValue(4)
    section.stop_when_absent.setChecked(False)
    qtbot.mouseClick(section.run, Qt.MouseButton.LeftButton)
    opened.wait_idle()
    assert engine.predictors[0].calls[-1] == ("propagate", "both", 1, 4, None)


def test_cancel_acts_within_one_frame_and_keeps_what_was_found(open_dock, stack, qtbot, engine):
    engine.gate = threading.Semaphore(0)
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    qtbot.mouseClick(opened.dock.propagate.run, Qt.MouseButton.LeftButton)
    engine.gate.release(3)
    qtbot.waitUntil(lambda: sizes(opened.labels(), 1)[2] == 197, timeout=3000)
    assert opened.dock.footer.cancel.isEnabled()
    assert not opened.dock.propagate.run.isEnabled()
    qtbot.mouseClick(opened.dock.footer.cancel, Qt.MouseButton.LeftButton)
    engine.gate.release()
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == [197] * 4 + [0] * 2
    assert opened.dock.footer.status.text() == "Cancelled: 4 planes"
    assert opened.dock.propagate.run.isEnabled()
    engine.gate.release(20)
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == [197] * 6


def test_a_click_while_propagating_waits_for_its_turn(open_dock, stack, qtbot, engine):
    engine.gate = threading.Semaphore(0)
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.plane.propagate()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    qtbot.wait(250)
    assert opened.controller.runs.is_busy
    engine.gate.release(20)
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == [197] * 6
    assert sizes(opened.labels(), 2) == [197] + [0] * 5


def test_models_work_in_a_worker(open_dock, stack, engine):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    assert engine.threads
    assert threading.get_ident() not in engine.threads


def test_a_model_is_loaded_once_and_again_for_another_device(open_dock, stack, engine):
    opened = open_dock(stack)
    for column in (18, 46):
        opened.points.add([0, 20 if column == 18 else 44, column])
        opened.wait_idle()
    assert [choice.device for choice in engine.loaded] == ["auto"]
    opened.dock.model.device.setCurrentText("cpu")
    opened.dock.model.device.activated.emit(1)
    opened.points.add([0, 21, 18])
    opened.wait_idle()
    assert [choice.device for choice in engine.loaded] == ["auto", "cpu"]
    opened.dock.model.precision.setCurrentText("bfloat16")
    opened.dock.model.size.setCurrentText("512 x 512 pixels")
    opened.dock.model.size.activated.emit(2)
    opened.points.add([0, 21, 19])
    opened.wait_idle()
    assert engine.loaded[2:] == [ModelChoice("nano", "cpu", "bfloat16", 512)]


def test_another_memory_budget_keeps_what_is_remembered(open_dock, stack, engine):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    memory = opened.dock.propagate.memory
    memory.setCurrentText("2 GB")
    memory.activated.emit(memory.currentIndex())
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert engine.budgets == [None, 2 * 10**9]
    calls = [call[0] for call in engine.predictors[1].calls]
    assert calls == ["propagate"]  # the prompt was remembered, not sent anew
    assert sizes(opened.labels(), 1) == [197] * 6


def test_an_own_checkpoint_file(open_dock, stack, engine, tmp_path):
    opened = open_dock(stack)
    opened.dock.model.add_file(str(tmp_path / "mine.pt"))
    assert opened.dock.model.model.currentText() == "mine.pt"
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    assert engine.loaded[0].name == str(tmp_path / "mine.pt")


def test_selecting_a_point_makes_its_object_active(open_dock, stack):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    opened.points.selected_data = {0}
    assert opened.controller.prompting.active == (1, True)
    assert opened.dock.prompts.object.value() == 1
    assert opened.shapes.feature_defaults["object"].item() == 1


def test_object_and_sign_of_the_dock_are_those_of_the_next_click(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.dock.prompts.object.setValue(4)
    qtbot.mouseClick(opened.dock.prompts.negative, Qt.MouseButton.LeftButton)
    opened.points.add([0, 1, 1])
    assert opened.points.features.iloc[0].tolist() == [4, "negative"]
    assert str(opened.points.symbol[0]) == "x"


def test_keys_do_not_clash_with_napari():
    taken = {str(binding) for bindings in default_shortcuts.values() for binding in bindings}
    for layer in (Points, Shapes, Labels):
        taken |= {str(binding) for binding in layer.class_keymap}
    ours = {str(coerce_keybinding(key)) for key in keys.ALL}
    assert len(ours) == len(keys.ALL)
    assert "P" in taken
    assert not ours & taken


def test_every_key_is_in_a_tooltip(open_dock):
    dock = open_dock().dock
    sections = (dock.prompts, dock.propagate, dock.timeline, dock.history, dock.footer)
    tips = " ".join(
        child.toolTip() for section in sections for child in section.findChildren(QWidget)
    )
    for key in keys.ALL:
        assert f": {key}" in tips


def test_opening_the_dock_does_not_import_torch():
    code = "import sys; from napari_sam2.plugin.widgets import dock; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_closed_dock_lets_go(propagating, stack, qtbot, engine):
    opened = propagating()
    opened.viewer.window.remove_dock_widget(opened.dock)
    engine.gate.release(20)
    qtbot.wait(250)
    assert sizes(opened.labels(), 1) == [197] * 2 + [0] * 4
    assert coerce_keybinding(keys.NEW_OBJECT) not in opened.viewer.keymap
    opened.points.add([0, 44, 46])
    opened.viewer.add_image(stack)
    qtbot.wait(250)
    assert sizes(opened.labels(), 1)[0] == 197
    assert not opened.controller.runs.is_busy


def test_a_dock_opened_again_takes_the_prompts_over(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.viewer.window.remove_dock_widget(opened.dock)
    again = type(opened.dock)(opened.viewer, opened.controller.runs._engine)
    opened.viewer.window.add_dock_widget(again, name="SAM 2 again")
    qtbot.waitUntil(lambda: again.controller.workspace.prompts.points is opened.points)
    assert [layer.name for layer in opened.viewer.layers].count("SAM 2 points") == 1
    again.let_go()


def test_closing_the_viewer_while_propagating(propagating, qtbot, engine, messages):
    opened = propagating()
    opened.viewer.close()
    qtbot.waitUntil(lambda: not opened.controller.runs.is_busy, timeout=3000)
    engine.gate.release(20)
    qtbot.wait(200)
    assert messages == []


def test_a_new_object_right_after_a_click_does_not_lose_the_click(open_dock, stack):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.controller.new_object()
    opened.wait_idle()
    assert sizes(opened.labels(), 1)[0] == 197


def test_an_edited_range_survives_what_does_not_change_the_stack(open_dock, stack):
    opened = open_dock(stack)
    opened.dock.propagate.first.setValue(2)
    opened.viewer.dims.axis_labels = ("z", "y", "x")
    opened.viewer.dims.transpose()
    assert opened.dock.propagate.limits == (2, 5)
    assert opened.dock.image.axis.currentText() == "z"


def test_what_an_earlier_run_found_beyond_the_end_of_an_object_goes(open_dock, stack, engine):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert sizes(opened.labels(), 1)[5] == 197
    changed = stack.copy()
    changed[3:] = 0
    changed[3:, 60:, 60:] = 200
    opened.viewer.layers["image"].data = changed
    opened.controller.plane.propagate(PassRequest("forward"))
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == [197] * 3 + [0] * 3


def test_a_finished_pass_fills_the_bar_wherever_the_objects_ended(open_dock, stack):
    stack = stack.copy()
    stack[3:] = 0
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate(PassRequest("forward", stop_when_absent=1))
    opened.wait_idle()
    assert opened.dock.footer.progress.text() == "4 of 4 planes"
    assert opened.dock.footer.status.text() == "Done: 4 planes"


def test_an_object_that_was_lost_is_carried_on_from_where_it_is_prompted_again(open_dock, stack):
    stack = stack.copy()
    stack[2:4] = 0
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.points.add([5, 20, 28])
    opened.controller.plane.propagate(PassRequest("forward", stop_when_absent=1))
    opened.wait_idle()
    found = sizes(opened.labels(), 1)
    assert found[0] == found[1] == 197
    assert found[5] > 0


def test_the_status_is_not_of_what_was_taken_back(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.plane.propagate()
    opened.wait_idle()
    opened.controller.undo()
    assert opened.dock.footer.status.text() == "Undone: Propagate"
    assert opened.dock.footer.progress.value() == 0
    opened.controller.redo()
    assert opened.dock.footer.status.text() == "Done again: Propagate"


def test_clicks_turn_the_3d_view(open_dock, stack, qtbot, messages):
    opened = open_dock(stack, show=True)
    opened.viewer.dims.ndisplay = 3
    assert opened.points.mode == "pan_zoom"
    opened.controller.use_tool("box")
    assert opened.shapes.mode == "pan_zoom"
    assert "2D view" in messages[-1][1]
    click(opened, qtbot, 20, 20)
    opened.viewer.dims.ndisplay = 2
    assert opened.points.mode == "add"
    assert not opened.session.objects


def test_another_image_begins_with_another_object(open_dock, stack, qtbot):
    opened = open_dock(stack, name="stack")
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    other = opened.viewer.add_image(stack.copy(), name="other")
    opened.controller.choose_image(other)
    assert opened.controller.prompting.active[0] == 2
    opened.controller.choose_image(opened.viewer.layers["stack"])
    assert opened.controller.prompting.active[0] == 1


def test_one_plane_has_no_other_to_go_to(open_dock, stack, messages):
    opened = open_dock(stack[0])
    opened.points.add([20, 18])
    opened.wait_idle()
    opened.controller.objects.go_to_least_certain()
    assert "one plane" in messages[-1][1]


def test_the_dock_opens_from_the_menu(make_napari_viewer, stack, qtbot):
    viewer = make_napari_viewer()
    image = viewer.add_image(stack)
    _, dock = viewer.window.add_plugin_dock_widget("napari-sam2", "Click and track")
    qtbot.waitUntil(lambda: dock.controller.workspace.prompts.points is not None)
    assert dock.controller.workspace.image is image
    assert dock.prompts.tools["point"].isChecked()
    viewer.layers.remove(image)
    assert dock.controller.workspace.image is None


def test_both_docks_share_a_place_until_they_are_moved(make_napari_viewer, stack, qtbot):
    viewer = make_napari_viewer()
    viewer.add_image(stack)
    first, _ = viewer.window.add_plugin_dock_widget("napari-sam2", "Click and track")
    second, dock = viewer.window.add_plugin_dock_widget("napari-sam2", "Segment all")
    window = viewer.window._qt_window
    qtbot.waitUntil(lambda: window.tabifiedDockWidgets(second) == [first])
    second.setFloating(True)
    qtbot.wait(50)
    assert second.isFloating()
    second.setFloating(False)
    viewer.window.remove_dock_widget(second)
    again, dock = viewer.window.add_plugin_dock_widget("napari-sam2", "Segment all")
    qtbot.waitUntil(lambda: window.tabifiedDockWidgets(again) == [first])
    assert dock.isVisibleTo(window)

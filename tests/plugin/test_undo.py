"""Undo and redo in a real viewer, by mouse and keys."""

import threading

import numpy as np
import pytest
from qtpy.QtCore import Qt
from tests.plugin.conftest import sizes
from tests.plugin.test_dock import canvas_of, canvas_position, click, press

from napari_sam2.inference.prompts import MaskPrompt, PointPrompt
from napari_sam2.plugin import keys
from napari_sam2.session.log import RemoveObject


def held(opened):
    return opened.session.prompts(opened.workspace.geometry().key)


def control_z(opened, qtbot, shift=False):
    modifiers = Qt.KeyboardModifier.ControlModifier
    if shift:
        modifiers |= Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(canvas_of(opened), Qt.Key.Key_Z, modifiers)


def settled(opened, qtbot):
    qtbot.wait(250)  # longer than an edit takes to settle
    opened.wait_idle()


def test_a_click_is_undone_and_redone(open_dock, stack, qtbot, messages):
    opened = open_dock(stack, show=True)
    click(opened, qtbot, 20, 20)
    opened.wait_idle()
    press(opened, qtbot, keys.NEW_OBJECT)
    click(opened, qtbot, 44, 44)
    opened.wait_idle()
    data, features = opened.points.data.copy(), opened.points.features.copy()
    labels, prompts = opened.labels().copy(), held(opened)
    assert sizes(labels, 2)[0] == 197
    for _ in range(2):
        press(opened, qtbot, keys.UNDO)
        settled(opened, qtbot)
        np.testing.assert_array_equal(opened.points.data, data[:1])
        assert opened.points.features.equals(features[:1])
        assert sizes(opened.labels(), 1)[0] == 197
        assert sizes(opened.labels(), 2)[0] == 0
        assert [entry.object_id for entry in opened.session.objects] == [1]
        press(opened, qtbot, keys.REDO)
        settled(opened, qtbot)
        np.testing.assert_array_equal(opened.points.data, data)
        assert opened.points.features.equals(features)
        np.testing.assert_array_equal(opened.labels(), labels)
        assert held(opened) == prompts
    for _ in range(3):  # one more than there are steps
        press(opened, qtbot, keys.UNDO)
    settled(opened, qtbot)
    assert len(opened.points.data) == 0
    assert not opened.labels().any()
    assert not opened.dock.history.undo.isEnabled()
    assert opened.dock.history.redo.isEnabled()
    assert messages == []


def test_buttons_say_what_they_would_do(open_dock, stack, qtbot):
    opened = open_dock(stack)
    section = opened.dock.history
    assert not section.undo.isEnabled()
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    assert "“Prompt object 1”" in section.undo.toolTip()
    qtbot.mouseClick(section.undo, Qt.MouseButton.LeftButton)
    assert "“Prompt object 1”" in section.redo.toolTip()
    qtbot.mouseClick(section.redo, Qt.MouseButton.LeftButton)
    settled(opened, qtbot)
    assert sizes(opened.labels(), 1)[0] == 197


def test_shapes_come_back_as_they_were(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.shapes.add_ellipses([[0, 10, 10], [0, 10, 30], [0, 30, 30], [0, 30, 10]])
    opened.wait_idle()
    opened.shapes.add_paths([[0, 20, 17], [0, 20, 25], [0, 22, 25]])
    opened.wait_idle()
    before = [each.copy() for each in opened.shapes.data]
    kinds, prompts = list(opened.shapes.shape_type), held(opened)
    opened.shapes.selected_data = {0, 1}
    opened.shapes.remove_selected()
    settled(opened, qtbot)
    assert held(opened) == {}
    opened.controller.undo()
    settled(opened, qtbot)
    assert list(opened.shapes.shape_type) == kinds
    for found, expected in zip(opened.shapes.data, before, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert held(opened) == prompts
    assert opened.session.redo_name
    opened.controller.undo()
    settled(opened, qtbot)
    assert list(opened.shapes.shape_type) == ["ellipse"]


def test_a_pass_is_undone_and_done_again(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.points.add([2, 20, 20])
    opened.viewer.dims.set_current_step(0, 2)
    opened.wait_idle()
    before = opened.labels().copy() if "SAM 2 labels" in opened.viewer.layers else None
    qtbot.mouseClick(opened.dock.propagate.run, Qt.MouseButton.LeftButton)
    opened.wait_idle()
    first = opened.labels().copy()
    assert sizes(first, 1) == [197] * 6
    opened.controller.undo()
    settled(opened, qtbot)
    if before is not None:
        np.testing.assert_array_equal(opened.labels(), before)
    assert sizes(opened.labels(), 1)[0] == 0
    qtbot.mouseClick(opened.dock.propagate.run, Qt.MouseButton.LeftButton)
    opened.wait_idle()
    np.testing.assert_array_equal(opened.labels(), first)


def test_undo_stops_a_run_and_takes_it_back(propagating, qtbot, engine):
    opened = propagating()
    opened.controller.undo()
    engine.gate.release(20)
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == [197] + [0] * 5
    assert opened.session.redo_name == "Propagate"


def test_a_click_during_a_run_is_a_step_after_it(propagating, qtbot, engine):
    opened = propagating()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    settled_prompts = held(opened)
    qtbot.wait(250)
    assert held(opened) == settled_prompts
    engine.gate.release(20)
    opened.wait_idle()
    assert sizes(opened.labels(), 2)[0] == 197
    opened.controller.undo()
    settled(opened, qtbot)
    assert sizes(opened.labels(), 1) == [197] * 6
    assert len(opened.points.data) == 1


def test_a_cancelled_run_does_not_lose_a_click_during_it(propagating, qtbot, engine):
    opened = propagating()
    opened.points.add([0, 21, 18])
    qtbot.wait(250)
    opened.controller.cancel()
    engine.gate.release(20)
    opened.wait_idle()
    assert len(held(opened)[1, 0]) == 2


def test_a_candidate_is_undone(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.plane.next_candidate()
    opened.wait_idle()
    assert sizes(opened.labels(), 1)[0] < 197
    opened.controller.undo()
    settled(opened, qtbot)
    assert sizes(opened.labels(), 1)[0] == 197


def test_a_hidden_object_is_not_shown_and_comes_back(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate()
    opened.wait_idle()
    opened.session.change_object(1, visible=False)
    assert not opened.labels().any()
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert not opened.labels().any()
    opened.controller.undo()
    opened.controller.undo()
    settled(opened, qtbot)
    assert sizes(opened.labels(), 1) == [197] * 6
    opened.controller.redo()
    assert not opened.labels().any()
    opened.session.apply(RemoveObject(1))
    opened.controller.undo()
    assert not opened.labels().any()


@pytest.fixture
def painting(open_dock, stack, qtbot):
    """A dock with a propagated object, and the brush in the layer of the results."""
    opened = open_dock(stack, show=True)
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate()
    opened.wait_idle()
    opened.layer = opened.viewer.layers["SAM 2 labels"]
    opened.viewer.layers.selection.active = opened.layer
    opened.layer.mode = "paint"
    opened.layer.brush_size = 6
    qtbot.wait(100)

    def stroke(label, row, column):
        opened.layer.selected_label = label
        click(opened, qtbot, row, column)
        opened.wait_idle()

    opened.stroke = stroke
    return opened


def test_a_stroke_is_the_mask_of_its_object_on_that_plane(painting, qtbot, engine):
    opened = painting
    before = opened.labels().copy()
    opened.stroke(1, 50, 10)
    painted = opened.labels().copy()
    assert painted[0, 50, 10] == 1
    assert sizes(painted, 1)[1:] == sizes(before, 1)[1:]
    assert held(opened) == {(1, 0): (MaskPrompt(painted[0] == 1),)}
    opened.controller.plane.propagate()
    opened.wait_idle()
    np.testing.assert_array_equal(opened.labels()[0], painted[0])
    assert engine.predictors[0].calls[-2][0] == "add"
    assert len(opened.points.data) == 1
    opened.controller.undo()
    control_z(opened, qtbot)
    settled(opened, qtbot)
    np.testing.assert_array_equal(opened.labels(), before)
    assert held(opened) == {(1, 0): (PointPrompt((20, 18)),)}
    control_z(opened, qtbot, shift=True)
    settled(opened, qtbot)
    np.testing.assert_array_equal(opened.labels(), painted)


def test_a_click_after_painting_refines_it(painting, qtbot):
    opened = painting
    opened.stroke(1, 50, 10)
    painted = opened.labels()[0] == 1
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    assert held(opened)[1, 0] == (PointPrompt((44, 46)), MaskPrompt(painted))


def test_painting_over_another_object_and_erasing(painting, qtbot):
    opened = painting
    opened.stroke(2, 20, 18)
    labels = opened.labels().copy()
    assert labels[0, 20, 18] == 2
    assert sizes(labels, 1)[0] + sizes(labels, 2)[0] == 197
    assert set(held(opened)) == {(1, 0), (2, 0)}
    opened.stroke(0, 20, 18)
    assert sizes(opened.labels(), 2)[0] == 0
    assert opened.labels()[0, 20, 18] == 0
    assert set(held(opened)) == {(1, 0)}
    for _ in range(2):
        press(opened, qtbot, keys.UNDO)
    settled(opened, qtbot)
    assert sizes(opened.labels(), 1)[0] == 197
    assert opened.session.undo_name == "Propagate"


def test_strokes_of_the_users_own_labels_are_the_layers(open_dock, stack, qtbot):
    opened = open_dock(stack, show=True)
    taken = np.zeros(stack.shape, np.uint8)
    taken[0, 50:60, 5:15] = 4
    mine = opened.viewer.add_labels(taken.copy(), name="mine")
    opened.dock.image.target.chosen.emit(mine)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.viewer.layers.selection.active = mine
    mine.mode, mine.selected_label, mine.brush_size = "paint", 0, 4
    qtbot.wait(100)
    click(opened, qtbot, 55, 10)
    assert mine.data[0, 55, 10] == 0
    name = opened.session.undo_name
    control_z(opened, qtbot)
    settled(opened, qtbot)
    np.testing.assert_array_equal(mine.data[0, 50:60, 5:15], 4)
    assert opened.session.undo_name == name
    control_z(opened, qtbot)
    settled(opened, qtbot)
    np.testing.assert_array_equal(mine.data, taken)


def test_a_stroke_while_propagating_is_kept(propagating, qtbot, engine):
    opened = propagating()
    layer = opened.viewer.layers["SAM 2 labels"]
    layer.selected_label = 1
    layer.paint((0, 50, 10), 1)
    engine.gate.release(20)
    opened.wait_idle()
    assert opened.labels()[0, 50, 10] == 1
    assert sizes(opened.labels(), 1)[1:] == [197] * 5


@pytest.mark.parametrize("under", [0, 7])
@pytest.mark.parametrize("protect", [True, False])
def test_a_stroke_where_results_come_later_is_kept_and_undone(
    propagating, qtbot, engine, protect, under
):
    opened = propagating()
    layer = opened.viewer.layers["SAM 2 labels"]
    layer.data[3, 10:16, 15:30] = under  # of the user
    first = layer.data.copy()
    first[1] = 0
    opened.controller.set_protect(protect)
    layer.selected_label = 2
    layer.paint((3, 16, 21), 2)
    stroke = layer.data[3] == 2
    engine.gate.release(20)
    opened.wait_idle()
    np.testing.assert_array_equal(opened.labels()[3] == 2, stroke)
    disc = first_disc(3)
    shown = disc & (first[3] == 0) if protect else disc
    np.testing.assert_array_equal(opened.labels()[3] == 1, shown & ~stroke)
    opened.controller.undo()
    settled(opened, qtbot)
    assert not (opened.labels() == 2).any()
    np.testing.assert_array_equal(opened.labels()[3] == 1, shown)
    np.testing.assert_array_equal(opened.labels()[3] == 7, (first[3] == 7) & ~shown)
    opened.controller.undo()
    settled(opened, qtbot)
    np.testing.assert_array_equal(opened.labels(), first)
    opened.controller.redo()
    opened.controller.redo()
    settled(opened, qtbot)
    np.testing.assert_array_equal(opened.labels()[3] == 2, stroke)


def first_disc(frame):
    """What the stand-in for the model takes for the first object."""
    rows, columns = np.mgrid[:64, :64]
    return (rows - 20) ** 2 + (columns - 18 - frame) ** 2 <= 64


def test_a_cancelled_run_does_not_lose_a_stroke_during_it(propagating, qtbot, engine):
    opened = propagating()
    layer = opened.viewer.layers["SAM 2 labels"]
    layer.selected_label = 2
    layer.paint((0, 50, 10), 2)
    opened.controller.cancel()
    engine.gate.release(20)
    opened.wait_idle()
    assert (2, 0) in held(opened)
    opened.controller.undo()
    settled(opened, qtbot)
    assert not (opened.labels() == 2).any()


def test_keys_of_a_layer_are_given_back(painting, qtbot):
    opened = painting
    opened.stroke(1, 50, 10)
    opened.viewer.window.remove_dock_widget(opened.dock)
    assert not opened.layer.keymap


def test_a_fill_and_a_drag(painting, qtbot):
    opened = painting
    opened.layer.selected_label = 1
    opened.layer.fill((0, 20, 18), 3)
    assert sizes(opened.labels(), 3)[0] == 197
    assert set(held(opened)) == {(3, 0)}
    canvas = canvas_of(opened)
    qtbot.mousePress(canvas, Qt.MouseButton.LeftButton, pos=canvas_position(opened, 50, 10))
    for column in (20, 30):
        qtbot.mouseMove(canvas, canvas_position(opened, 50, column))
    qtbot.mouseRelease(canvas, Qt.MouseButton.LeftButton, pos=canvas_position(opened, 50, 30))
    assert opened.session.undo_name == "Paint"


def shown(opened):
    """What a person sees, and what the session holds."""
    session, (points, shapes) = opened.session, (opened.points, opened.shapes)
    return (
        opened.labels().tolist(),
        points.data.tolist(),
        points.features.to_dict("list"),
        [each.tolist() for each in shapes.data],
        shapes.features.to_dict("list"),
        session.objects,
        {stack: dict(session.prompts(stack)) for stack in session.stacks if session.prompts(stack)},
    )


def do(opened, random):
    """One random thing of those that a person does."""
    controller, objects = opened.controller, opened.controller.objects
    numbers = [entry.object_id for entry in opened.session.objects]
    row, column = (int(each) for each in random.integers(4, 44, 2))
    match random.integers(12):
        case 0 | 1:
            opened.points.add([0, row, column])
        case 2:
            rows, columns = (row, row, row + 16, row + 16), (column, column + 16) * 2
            corners = [[0, rows[at], columns[at]] for at in (0, 1, 3, 2)]
            opened.shapes.add([corners], shape_type="rectangle")
        case 3:
            controller.new_object()
        case 4:
            controller.plane.propagate()
        case 5:
            controller.plane.next_candidate()
        case 6 if numbers and "SAM 2 labels" in opened.viewer.layers:
            layer = opened.viewer.layers["SAM 2 labels"]
            layer.paint((0, row, column), int(random.choice([0, *numbers])))
        case 7 if numbers:
            objects.delete(numbers[-1:])
        case 8 if len(numbers) > 1:
            objects.merge(numbers[-2:])
        case 9 if numbers:
            objects.show(numbers[0], bool(random.integers(2)))
        case 10 if numbers:
            opened.viewer.dims.set_current_step(0, 3)
            objects.split(numbers[0])
            opened.viewer.dims.set_current_step(0, 0)
        case 11 if len(opened.points.data):
            opened.points.selected_data = {0}
            opened.points.remove_selected()


@pytest.mark.parametrize("seed", range(3))
def test_random_operations_and_as_many_undos(open_dock, stack, qtbot, seed):
    opened, random = open_dock(stack), np.random.default_rng(seed)
    for _ in range(20):
        do(opened, random)
        if random.random() < 0.7:  # else the next one comes while the model runs
            settled(opened, qtbot)
    settled(opened, qtbot)
    last, count = shown(opened), 0
    while opened.session.undo_name:
        opened.controller.undo()
        count += 1
    settled(opened, qtbot)
    assert count > 5
    labels, *others = shown(opened)
    assert not np.any(labels)
    assert others == [[], {"object": [], "sign": []}, [], {"object": [], "sign": []}, (), {}]
    for _ in range(count):
        opened.controller.redo()
    settled(opened, qtbot)
    assert shown(opened) == last


def test_what_was_done_during_a_cancelled_run_is_carried_out_in_order(propagating, qtbot, engine):
    opened = propagating()
    objects = opened.controller.objects
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    objects.rename(1, "first")
    objects.rename(1, "nucleus")
    objects.show(1, False)
    opened.controller.new_object()
    opened.points.add([0, 44, 45])
    qtbot.wait(250)
    objects.delete([3])
    opened.controller.plane.propagate()
    opened.controller.cancel()
    engine.gate.release(20)
    opened.wait_idle()
    assert [(each.object_id, each.name, each.visible) for each in opened.session.objects] == [
        (1, "nucleus", False),
        (2, "object 2", True),
    ]
    assert sizes(opened.labels(), 2) == [197] + [0] * 5
    passes = [each for each in opened.session.log if getattr(each, "request", None)]
    assert [each.outcome for each in passes] == ["cancelled"]
    names = []
    while opened.session.undo_name:
        names.insert(0, opened.session.undo_name)
        opened.controller.undo()
    assert names[1:] == [
        "Propagate",
        "Prompt object 2",
        "Rename object 1",
        "Rename object 1",
        "Hide object 1",
        "Prompt object 3",
        "Delete object 3",
    ]


def test_undo_is_not_lost_by_cancel_and_two_count_as_two(propagating, qtbot, engine):
    opened = propagating()
    for _ in range(2):
        opened.controller.undo()
    opened.controller.cancel()
    engine.gate.release(20)
    opened.wait_idle()
    assert opened.session.undo_name == ""
    assert opened.session.redo_name == "Prompt object 1"
    assert not opened.labels().any()


def test_undo_during_a_run_does_not_take_back_a_click_after_it(propagating, qtbot, engine):
    opened = propagating()
    for _ in range(2):  # the run, and the click that it began with
        opened.controller.undo()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    qtbot.wait(250)
    engine.gate.release(20)
    opened.wait_idle()
    assert set(held(opened)) == {(2, 0)}
    np.testing.assert_array_equal(opened.points.data, [[0, 44, 46]])
    assert [sizes(opened.labels(), number)[0] for number in (1, 2)] == [0, 197]
    opened.controller.undo()
    settled(opened, qtbot)
    assert len(opened.points.data) == 0


def test_undo_during_a_run_takes_back_what_came_before_it(propagating, qtbot, engine):
    opened = propagating()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    qtbot.wait(250)
    opened.controller.undo()
    opened.points.add([0, 44, 45])
    qtbot.wait(250)
    opened.points.selected_data = {0}
    opened.points.remove_selected()
    qtbot.wait(250)
    engine.gate.release(20)
    opened.wait_idle()
    np.testing.assert_array_equal(opened.points.data, [[0, 44, 45]])
    assert set(held(opened)) == {(2, 0)}
    opened.controller.undo()
    settled(opened, qtbot)
    np.testing.assert_array_equal(opened.points.data, [[0, 20, 18]])


def test_a_click_for_an_object_that_was_deleted_before_it_stays(propagating, qtbot, engine):
    opened = propagating()
    opened.controller.objects.delete([1])
    opened.points.add([0, 44, 46])
    opened.controller.use_tool("box")
    opened.shapes.add([[0, 38, 38], [0, 38, 54], [0, 54, 54], [0, 54, 38]])
    qtbot.wait(250)
    engine.gate.release(20)
    opened.wait_idle()
    np.testing.assert_array_equal(opened.points.data, [[0, 44, 46]])
    assert len(opened.shapes.data) == 1
    assert len(held(opened)[1, 0]) == 2
    assert sizes(opened.labels(), 1) == [197] + [0] * 5
    opened.controller.undo()
    opened.controller.undo()
    settled(opened, qtbot)
    np.testing.assert_array_equal(opened.points.data, [[0, 20, 18]])
    assert len(opened.shapes.data) == 0
    assert sizes(opened.labels(), 1) == [197] * 6


def test_a_click_for_an_object_that_was_merged_before_it(propagating, qtbot, engine):
    opened = propagating()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    qtbot.wait(250)
    opened.controller.objects.merge([1, 2])
    opened.points.add([0, 44, 45])
    qtbot.wait(250)
    engine.gate.release(20)
    opened.wait_idle()
    assert {key: len(prompts) for key, prompts in held(opened).items()} == {(1, 0): 3}
    assert [entry.object_id for entry in opened.session.objects] == [1]


def test_a_click_during_a_cancelled_run_has_its_mask(propagating, qtbot, engine):
    opened = propagating()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    qtbot.wait(250)
    opened.controller.cancel()
    engine.gate.release(20)
    opened.wait_idle()
    assert sizes(opened.labels(), 2)[0] == 197


def test_a_click_just_before_an_object_is_changed_has_its_mask(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    opened.controller.objects.rename(1, "nucleus")
    settled(opened, qtbot)
    assert sizes(opened.labels(), 2)[0] == 197
    assert opened.session.undo_name == "Rename object 1"


def test_clicks_at_two_times_during_a_run_are_both_taken(open_dock, stack, qtbot, engine):
    engine.gate = threading.Semaphore(0)
    opened = open_dock(np.stack([stack] * 2))
    opened.points.add([0, 0, 20, 18])
    opened.wait_idle()
    opened.controller.plane.propagate()
    engine.gate.release()
    opened.points.add([0, 0, 44, 46])
    qtbot.wait(250)
    opened.viewer.dims.set_current_step(0, 1)
    opened.points.add([1, 0, 44, 46])
    qtbot.wait(250)
    engine.gate.release(20)
    opened.wait_idle()
    assert [sizes(volume, 1)[0] for volume in opened.labels()] == [394, 197]


def test_undo_in_a_dock_that_was_opened_again(open_dock, stack, qtbot, engine):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    settled(opened, qtbot)
    opened.viewer.window.remove_dock_widget(opened.dock)
    again = type(opened.dock)(opened.viewer, engine)
    opened.viewer.window.add_dock_widget(again, name="SAM 2 again")
    qtbot.waitUntil(lambda: again.controller.prompting.active == (2, True))

    def settle():
        qtbot.wait(250)
        qtbot.waitUntil(lambda: not again.controller.is_busy, timeout=5000)

    points, session = opened.points, again.controller.session
    points.add([0, 44, 46])
    settle()
    name = session.undo_name
    again.controller.undo()
    settle()
    assert (len(points.data), session.undo_name, session.redo_name) == (1, "", name)
    again.controller.redo()
    settle()
    assert len(points.data) == 2
    assert session.masks(*session.stacks, 0).keys() == {1, 2}
    again.let_go()

"""What is done while the model runs waits for its end, in order, and is saved meanwhile."""

import threading

import numpy as np
import pandas as pd
import pytest
from qtpy.QtCore import Qt
from tests.plugin.conftest import sizes
from tests.plugin.test_dock import canvas_of, canvas_position, click
from tests.plugin.test_saving import folders
from tests.plugin.test_undo import held, settled

from napari_sam2.plugin import work
from napari_sam2.plugin.layers.prompt_features import next_object
from napari_sam2.session.folder import read_session
from napari_sam2.session.session import Session


@pytest.fixture
def two_times(open_dock, stack, qtbot, engine):
    """A film of stacks, with object 1 at the first time and object 2 at the second."""
    opened = open_dock(np.stack([stack] * 2))
    opened.points.add([0, 0, 20, 18])
    opened.wait_idle()
    opened.viewer.dims.set_current_step(0, 1)
    opened.controller.new_object()
    opened.points.add([1, 0, 44, 46])
    opened.wait_idle()
    opened.viewer.dims.set_current_step(0, 0)
    engine.gate = threading.Semaphore(0)
    return opened


def finish(opened, qtbot, engine):
    engine.gate.release(40)
    opened.wait_idle()
    settled(opened, qtbot)


def saved_prompts(sessions):
    """What the prompts are in the session that was saved, by stack."""
    (path,) = folders(sessions)
    saved, session = read_session(path, "image"), Session()
    session.reopen(saved.log, saved.masks)
    return {stack.fixed: dict(session.prompts(stack)) for stack in session.stacks}


def test_what_waits_is_saved_in_its_order(propagating, qtbot, engine, sessions):
    opened = propagating()
    opened.controller.objects.delete([1])
    opened.points.add([0, 44, 46])
    qtbot.wait(2000)
    saved = saved_prompts(sessions)
    finish(opened, qtbot, engine)
    assert saved[()] == held(opened)
    assert len(saved[()][1, 0]) == 1


def test_clicks_at_two_times_are_saved(two_times, qtbot, engine, sessions):
    opened = two_times
    opened.controller.plane.propagate()
    opened.controller.new_object()
    opened.points.add([0, 0, 44, 46])
    qtbot.wait(250)
    opened.controller.objects.rename(1, "nucleus")
    opened.viewer.dims.set_current_step(0, 1)
    opened.controller.new_object()
    opened.points.add([1, 0, 20, 18])
    qtbot.wait(2000)
    saved = saved_prompts(sessions)
    assert {key for prompts in saved.values() for key in prompts} == {
        (number, 0) for number in (1, 2, 3, 4)
    }
    finish(opened, qtbot, engine)
    assert sizes(opened.labels()[0], 3)[0] == sizes(opened.labels()[1], 4)[0] == 197


def test_a_deleted_layer_that_undo_makes_again(propagating, qtbot, engine):
    opened = propagating()
    opened.viewer.layers.remove(opened.points)
    opened.controller.undo()
    opened.controller.objects.delete([5])  # there is none: told, and no more
    qtbot.wait(250)
    finish(opened, qtbot, engine)
    assert len(opened.workspace.prompts.points.data) == 1
    assert sizes(opened.labels(), 1)[0] == 197


@pytest.mark.parametrize("chosen", [False, True])
def test_masks_of_other_times_outlive_the_layer(two_times, qtbot, engine, chosen):
    opened = two_times
    if chosen:
        opened.controller.plane.propagate()
        mine = opened.viewer.add_points(np.empty((0, 4)), name="mine")
        opened.controller.choose_points(mine)
        opened.viewer.dims.set_current_step(0, 1)
    else:
        opened.viewer.layers.remove(opened.points)
        settled(opened, qtbot)
        opened.viewer.dims.set_current_step(0, 1)
        opened.controller.new_object()
        opened.workspace.prompts.points.add([1, 0, 20, 18])
    finish(opened, qtbot, engine)
    assert [sizes(opened.labels()[time], time + 1)[0] for time in (0, 1)] == [197, 197]


def test_a_click_before_another_layer_was_chosen(propagating, qtbot, engine):
    opened = propagating()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    qtbot.wait(250)
    opened.controller.choose_points(opened.viewer.add_points(np.empty((0, 3))))
    finish(opened, qtbot, engine)
    assert sizes(opened.labels(), 2)[0] == 197


def test_an_error_does_not_keep_the_rest_waiting(propagating, qtbot, engine, messages, monkeypatch):
    opened = propagating()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    qtbot.wait(250)
    opened.controller.objects.rename(1, "nucleus")

    def broken(*_):
        raise OSError("the disk is gone")

    monkeypatch.setattr(work, "stack_source", broken)
    finish(opened, qtbot, engine)
    assert opened.session.find_object(1).name == "nucleus"
    assert ("error", "the disk is gone") in messages


def test_one_object_each_asked_for_twice(propagating, qtbot, engine):
    opened = propagating()
    opened.points.add([0, 44, 46])
    qtbot.wait(250)
    opened.viewer.layers.selection.active = opened.points
    for _ in range(2):
        opened.controller.objects.one_each()
    finish(opened, qtbot, engine)
    assert sizes(opened.labels(), 2)[0] == 197


@pytest.mark.parametrize("data", [[[0, 20, 18]], [[0.0, 20, 18]]])
def test_undo_in_a_layer_of_the_user(open_dock, stack, qtbot, engine, data):
    opened = open_dock(stack)
    missing = pd.DataFrame({"score": [np.nan], "object": [1]})
    mine = opened.viewer.add_points(np.array(data), features=missing)
    opened.controller.choose_points(mine)
    opened.wait_idle()
    mine.add(np.add(data[0], [0, 2, 0]))
    opened.wait_idle()
    engine.gate = threading.Semaphore(0)
    opened.controller.plane.propagate()
    for _ in range(2):
        opened.controller.undo()
    mine.add([0, 44.5, 46])
    qtbot.wait(250)
    finish(opened, qtbot, engine)
    np.testing.assert_array_equal(mine.data, [[0, 20, 18], [0, 44.5, 46]])


def test_a_box_that_is_being_drawn_is_left_alone(open_dock, stack, qtbot, engine):
    opened = open_dock(stack, show=True)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    engine.gate = threading.Semaphore(0)
    opened.controller.plane.propagate()
    opened.controller.undo()
    opened.controller.undo()
    opened.controller.new_object()
    opened.controller.use_tool("box")
    canvas, button = canvas_of(opened), Qt.MouseButton.LeftButton
    qtbot.mousePress(canvas, button, pos=canvas_position(opened, 36, 36))
    for place in (40, 46):
        qtbot.mouseMove(canvas, canvas_position(opened, place, place))
        qtbot.wait(30)
    engine.gate.release(40)
    qtbot.waitUntil(lambda: not opened.controller.runs.is_busy)
    qtbot.wait(200)
    assert held(opened)  # nothing is undone yet
    qtbot.mouseMove(canvas, canvas_position(opened, 56, 56))
    qtbot.wait(30)
    qtbot.mouseRelease(canvas, button, pos=canvas_position(opened, 56, 56))
    qtbot.wait(200)
    opened.wait_idle()
    assert set(held(opened)) == {(2, 0)}
    assert len(opened.points.data) == 0
    assert sizes(opened.labels(), 2)[0] == 197


@pytest.mark.parametrize("what", ["delete", "split", "rename", "one each"])
def test_the_next_click_is_what_the_dock_says(open_dock, stack, qtbot, engine, what):
    opened = open_dock(stack)
    objects = opened.controller.objects
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.points.add([3, 20, 21])
    opened.wait_idle()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    engine.gate = threading.Semaphore(0)
    if what == "rename":  # and what is drawn after it, during a run
        opened.controller.plane.propagate()
        objects.rename(1, "nucleus")
        opened.points.add([0, 44, 45])
        qtbot.wait(250)
        opened.controller.new_object()
    elif what == "delete":
        opened.controller.new_object()
        objects.delete([2])
    elif what == "split":
        opened.viewer.dims.set_current_step(0, 3)
        objects.split(1)
    else:
        opened.viewer.layers.selection.active = opened.points
        objects.one_each()
    opened.controller.toggle_sign()
    finish(opened, qtbot, engine)
    assert next_object(opened.points) == opened.controller.prompting.active
    assert opened.controller.prompting.active[1] is False


@pytest.fixture
def three_points(open_dock, stack, qtbot, engine):
    """Object 1 with a point, and object 2 with two, all on the first plane, while a run lasts."""
    opened = open_dock(stack, show=True)
    for number, position in ((1, (20, 18)), (2, (44, 46)), (2, (44, 42))):
        opened.controller.prompting.set_active(number, True)
        opened.points.add([0, *position])
        settled(opened, qtbot)
    engine.gate = engine.predictors[-1]._gate = threading.Semaphore(0)
    opened.controller.plane.propagate()
    return opened


def test_a_point_is_moved_after_its_object_was_merged(three_points, qtbot, engine):
    three_points.controller.objects.merge([1, 2])
    three_points.points.data = [[0, 20, 18], [0, 43, 45], [0, 44, 42]]  # as a drag does
    three_points.points.add([0, 44, 47])
    qtbot.wait(250)
    finish(three_points, qtbot, engine)
    assert list(three_points.points.features["object"]) == [1] * 4
    assert {key: len(prompts) for key, prompts in held(three_points).items()} == {(1, 0): 4}


def test_one_object_each_of_what_is_to_be_merged(three_points, qtbot, engine):
    three_points.controller.objects.merge([1, 2])
    three_points.viewer.layers.selection.active = three_points.points
    three_points.controller.objects.one_each()
    finish(three_points, qtbot, engine)
    first, *others = three_points.points.features["object"]
    assert first == 1
    assert len({1, *others}) == 3
    assert held(three_points).keys() == {(number, 0) for number in (1, *others)}


@pytest.fixture
def splitting(open_dock, stack, qtbot, engine):
    """Object 1 with points on planes 0 and 3, to be split at plane 3 once a run has ended."""
    opened = open_dock(stack)
    for position in ((0, 20, 18), (3, 20, 21)):
        opened.points.add(position)
        settled(opened, qtbot)
    opened.viewer.dims.set_current_step(0, 3)
    engine.gate = engine.predictors[-1]._gate = threading.Semaphore(0)
    opened.controller.plane.propagate()
    opened.controller.objects.split(1)
    return opened


def test_a_point_is_moved_after_its_object_was_split(splitting, qtbot, engine):
    opened = splitting
    opened.points.data = [[0, 20, 18], [3, 21, 22]]
    qtbot.wait(250)
    finish(opened, qtbot, engine)
    assert list(opened.points.features["object"]) == [1, 2]
    assert {key: p[0].position for key, p in held(opened).items()} == {
        (1, 0): (20, 18),
        (2, 3): (21, 22),
    }


def test_a_drag_goes_on_when_the_run_ends(three_points, qtbot, engine):
    opened = three_points
    opened.controller.objects.rename(1, "nucleus")
    opened.viewer.layers.selection.active = opened.points
    opened.points.mode = "select"
    canvas, button = canvas_of(opened), Qt.MouseButton.LeftButton
    qtbot.mousePress(canvas, button, pos=canvas_position(opened, 20, 18))
    qtbot.mouseMove(canvas, canvas_position(opened, 21, 18))
    engine.gate.release(40)
    qtbot.waitUntil(lambda: not opened.controller.runs.is_busy)
    qtbot.wait(200)
    for row in (22, 23, 24):
        qtbot.mouseMove(canvas, canvas_position(opened, row, 18))
        qtbot.wait(30)
    qtbot.mouseRelease(canvas, button, pos=canvas_position(opened, 24, 18))
    finish(opened, qtbot, engine)
    assert opened.points.data[0][1] == pytest.approx(24, abs=0.5)
    assert opened.session.find_object(1).name == "nucleus"


def test_objects_that_were_deleted_meanwhile_are_left_out(three_points, qtbot, engine, messages):
    three_points.controller.objects.delete([1])
    three_points.controller.objects.delete([1, 2])
    three_points.controller.objects.delete([1])
    finish(three_points, qtbot, engine)
    assert not three_points.session.objects
    assert [text for _, text in messages] == ["There is no object 1."]


def test_a_merge_that_is_refused_leaves_the_active_object(three_points, qtbot, engine, stack):
    opened = three_points
    finish(opened, qtbot, engine)
    shapes = opened.workspace.prompts.shapes
    for number in (1, 2):
        opened.controller.prompting.set_active(number, True)
        shapes.add_rectangles([[0, 10, 8], [0, 10, 28], [0, 30, 28], [0, 30, 8]])
        settled(opened, qtbot)
    opened.controller.objects.merge([1, 2])
    settled(opened, qtbot)
    assert opened.controller.prompting.active == (2, True)


def test_prompts_deleted_at_another_time_are_deleted_in_what_is_saved(
    two_times, qtbot, engine, sessions
):
    two_times.controller.plane.propagate()
    two_times.points.selected_data = {0, 1}
    two_times.points.remove_selected()
    qtbot.wait(2000)
    saved = saved_prompts(sessions)
    finish(two_times, qtbot, engine)
    assert not any(saved.values())
    assert not any(two_times.session.prompts(each) for each in two_times.session.stacks)


def test_a_point_is_moved_after_a_merge_and_its_image_goes(three_points, qtbot, engine):
    (key,) = three_points.session.stacks
    three_points.controller.objects.merge([1, 2])
    three_points.points.data = [[0, 20, 18], [0, 43, 45], [0, 44, 42]]
    qtbot.wait(250)
    three_points.viewer.layers.clear()
    engine.gate.release(40)
    qtbot.waitUntil(lambda: not three_points.controller.is_busy)
    prompts = three_points.session.prompts(key)
    assert {place: len(each) for place, each in prompts.items()} == {(1, 0): 3}


def test_a_drag_that_was_broken_off_keeps_nothing_waiting(three_points, qtbot, engine):
    opened = three_points
    opened.viewer.layers.selection.active = opened.points
    opened.points.mode = "select"
    canvas, button = canvas_of(opened), Qt.MouseButton.LeftButton
    qtbot.mousePress(canvas, button, pos=canvas_position(opened, 20, 18))
    qtbot.mouseMove(canvas, canvas_position(opened, 21, 18))
    opened.controller.use_tool("box")  # the release is told to another layer
    qtbot.mouseRelease(canvas, button, pos=canvas_position(opened, 22, 18))
    opened.controller.objects.rename(1, "nucleus")
    finish(opened, qtbot, engine)
    assert opened.session.find_object(1).name == "nucleus"


def test_a_merge_leaves_out_what_was_deleted_meanwhile(three_points, qtbot, engine):
    opened = three_points
    finish(opened, qtbot, engine)
    opened.controller.prompting.set_active(3, True)
    opened.points.add([0, 20, 20])
    settled(opened, qtbot)
    engine.gate = engine.predictors[-1]._gate = threading.Semaphore(0)
    opened.controller.plane.propagate()
    opened.controller.objects.delete([1])
    opened.controller.objects.merge([1, 2, 3])
    finish(opened, qtbot, engine)
    assert [entry.object_id for entry in opened.session.objects] == [2]
    assert list(opened.points.features["object"]) == [2] * 3


def test_a_split_and_what_is_drawn_after_it_get_numbers_of_their_own(splitting, qtbot, engine):
    splitting.controller.new_object()
    splitting.points.add([3, 44, 43])
    qtbot.wait(250)
    finish(splitting, qtbot, engine)
    assert list(splitting.points.features["object"]) == [1, 2, 3]


@pytest.mark.parametrize("how", ["painted", "layer"])
def test_numbers_that_wait_are_given_to_nothing_else(propagating, qtbot, engine, how):
    opened = propagating()
    if how == "painted":
        opened.controller.new_object()
        opened.workspace.target.paint((0, 5, 50), 2)
    else:
        mine = opened.viewer.add_points([[0, 44, 46]], features={"object": [2]})
        opened.controller.choose_points(mine)
    qtbot.wait(100)
    opened.controller.new_object()
    opened.controller.use_tool("box")
    opened.shapes.add(np.array([[0, 36, 38], [0, 36, 54], [0, 52, 54], [0, 52, 38]]))
    qtbot.wait(250)
    finish(opened, qtbot, engine)
    assert [entry.object_id for entry in opened.session.objects] == [1, 2, 3]


def test_a_merge_with_what_is_to_be_deleted(three_points, qtbot, engine):
    opened, objects = three_points, three_points.controller.objects
    finish(opened, qtbot, engine)
    opened.controller.prompting.set_active(3, True)
    opened.points.add([0, 20, 20])
    settled(opened, qtbot)
    engine.gate = engine.predictors[-1]._gate = threading.Semaphore(0)
    opened.controller.plane.propagate()
    objects.delete([1])
    objects.merge([1, 2, 3])
    opened.points.add([0, 44, 47])
    qtbot.wait(250)
    finish(opened, qtbot, engine)
    assert opened.controller.prompting.active[0] == 2
    assert list(opened.points.features["object"]) == [2, 2, 2, 2]


def test_an_outline_that_was_left_holds_nothing_up(three_points, qtbot, engine):
    three_points.controller.use_tool("outline")
    click(three_points, qtbot, 40, 40)  # the first corner
    three_points.controller.use_tool("point")
    three_points.controller.objects.rename(1, "nucleus")
    finish(three_points, qtbot, engine)
    assert three_points.session.find_object(1).name == "nucleus"
    assert len(three_points.shapes.data) == 0


def test_a_drag_that_was_broken_off_holds_nothing_up_in_its_own_layer(three_points, qtbot, engine):
    opened = three_points
    opened.viewer.layers.selection.active = opened.points
    opened.points.mode = "select"
    canvas, button = canvas_of(opened), Qt.MouseButton.LeftButton
    qtbot.mousePress(canvas, button, pos=canvas_position(opened, 20, 18))
    qtbot.mouseMove(canvas, canvas_position(opened, 21, 18))
    opened.controller.use_tool("box")
    qtbot.mouseRelease(canvas, button, pos=canvas_position(opened, 22, 18))
    opened.controller.use_tool("point")
    opened.controller.objects.rename(1, "nucleus")
    finish(opened, qtbot, engine)
    assert opened.session.find_object(1).name == "nucleus"


def test_as_much_is_drawn_as_is_deleted_at_another_time(two_times, qtbot, engine):
    opened = two_times
    opened.controller.plane.propagate()
    opened.points.selected_data = {0, 1}
    opened.points.remove_selected()
    for column in (18, 19):
        opened.points.add([0, 0, 20, column])
    qtbot.wait(250)
    finish(opened, qtbot, engine)
    assert {key.fixed for key in opened.session.stacks if opened.session.prompts(key)} == {
        ((0, 0),)
    }

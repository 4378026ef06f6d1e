"""Images that are left, deleted or made smaller while something is done to their objects."""

import threading

import numpy as np
import pytest
from tests.plugin.conftest import sizes
from tests.plugin.test_dock import click
from tests.plugin.test_saving import folders, killed  # noqa: F401, a fixture
from tests.plugin.test_undo import settled

from napari_sam2.session.folder import read_session
from napari_sam2.session.masks import plane_mask


@pytest.fixture
def two(open_dock, stack, qtbot, engine):
    """Two images; the second, in use, has object 1 and is propagated until the gate is opened."""
    opened = open_dock(stack[:, ::-1], stack)
    opened.other, opened.image = (opened.viewer.layers[name] for name in ("image", "image [1]"))
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    settled(opened, qtbot)

    def choose(image):
        opened.dock.image.image.chosen.emit(image)
        qtbot.wait(250)

    def propagate():
        engine.gate = engine.predictors[-1]._gate = threading.Semaphore(0)
        opened.controller.plane.propagate()

    def finish():
        engine.gate.release(100)
        opened.wait_idle()
        settled(opened, qtbot)

    opened.choose, opened.propagate, opened.finish = choose, propagate, finish
    return opened


@pytest.mark.parametrize("closed", [False, True])
def test_clicks_of_a_run_outlive_their_image(propagating, qtbot, sessions, engine, closed):
    opened = propagating()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    qtbot.wait(250)
    opened.viewer.layers.clear()
    if closed:
        opened.viewer.window.remove_dock_widget(opened.dock)
    engine.gate.release(40)
    qtbot.wait(1000)
    (path,) = folders(sessions)
    prompted = [
        command.object_id for command in read_session(path).log if hasattr(command, "prompts")
    ]
    assert prompted == [1, 2]
    (key,) = opened.session.stacks
    assert opened.session.prompts(key).keys() == {(1, 0), (2, 0)}


@pytest.mark.parametrize("asked", [False, True])
def test_numbers_that_are_drawn_for_another_image_are_taken(two, qtbot, asked):
    two.propagate()
    two.controller.new_object()
    two.points.add([0, 44, 46])
    qtbot.wait(250)
    two.choose(two.other)
    if asked:
        two.controller.new_object()
    two.workspace.prompts.points.add([0, 43, 18])
    qtbot.wait(250)
    two.finish()
    found = [{number for number, _ in two.session.prompts(s)} for s in two.session.stacks]
    assert found == [{1, 2}, {3}]


def test_a_click_whose_image_was_left_before_it_could_run_runs_on_return(two, qtbot):
    two.propagate()
    two.controller.new_object()
    two.points.add([0, 44, 46])
    qtbot.wait(50)
    two.choose(two.other)
    two.finish()
    (key,) = two.session.stacks
    assert 2 not in two.session.masks(key, 0)
    two.choose(two.image)
    two.finish()
    assert two.session.masks(key, 0)[2].present


def test_a_refining_click_is_run_when_its_image_is_in_use_again(two, qtbot):
    two.propagate()
    two.points.add([0, 44, 46])
    qtbot.wait(250)
    two.choose(two.other)
    two.finish()
    two.choose(two.image)
    two.finish()
    assert sizes(two.labels(), 1)[0] == 2 * 197


def test_masks_stay_saved_when_an_image_without_its_layer_is_in_use_again(two, qtbot, sessions):
    points = two.points
    two.choose(two.other)
    two.workspace.prompts.points.add([0, 43, 18])
    settled(two, qtbot)
    two.propagate()
    two.viewer.layers.remove(points)
    two.choose(two.image)
    qtbot.wait(1500)  # saved, while the run of the other image lasts
    assert two.controller.is_busy
    saved = [read_session(path, "image") for path in folders(sessions)]
    (masks,) = [s.masks for s in saved if s.image.name == "image [1]"]
    (of_stack,) = masks.values()
    assert 1 in of_stack[0]
    two.finish()


def test_a_split_is_done_though_its_image_was_left(two, qtbot):
    two.points.add([3, 20, 21])
    settled(two, qtbot)
    two.viewer.dims.set_current_step(0, 3)
    two.propagate()
    two.controller.objects.split(1)
    two.choose(two.other)
    two.finish()
    (key,) = two.session.stacks
    assert two.session.prompts(key).keys() == {(1, 0), (2, 3)}
    assert list(two.points.features["object"]) == [1, 2]


def test_what_was_drawn_in_an_image_that_was_left_is_taken_on_return(two, qtbot):
    two.choose(two.other)
    two.points.add([0, 44, 46])
    settled(two, qtbot)
    two.choose(two.image)
    two.wait_idle()
    assert sizes(two.labels(), 1)[0] == 2 * 197


def test_a_click_in_the_points_of_another_image_goes_there(open_dock, stack, qtbot):
    opened = open_dock(stack[:, ::-1], stack, show=True)
    click(opened, qtbot, 20, 18)
    opened.wait_idle()
    image, points = opened.workspace.image, opened.points
    opened.dock.image.image.chosen.emit(opened.viewer.layers["image"])
    qtbot.wait(250)
    opened.viewer.layers.selection.active = points
    click(opened, qtbot, 44, 46)
    settled(opened, qtbot)
    assert opened.workspace.image is image
    assert opened.viewer.layers.selection.active is points
    assert points.mode == "add"
    assert sizes(opened.labels(), 1)[0] == 2 * 197


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


def test_painting_in_masks_of_another_image_goes_there(two, qtbot):
    layer = two.workspace.target
    two.choose(two.other)
    two.viewer.layers.selection.active = layer
    layer.selected_label = 1
    layer.paint((0, 5, 50), 1)
    settled(two, qtbot)
    assert two.workspace.image is two.image
    assert two.viewer.layers.selection.active is layer  # for the next stroke
    (stack,) = two.session.stacks
    assert plane_mask(two.session.masks(stack, 0)[1], (64, 64))[5, 50]
    two.controller.undo()
    settled(two, qtbot)
    assert not two.labels()[0, 5, 50]
    assert sizes(two.labels(), 1)[0] == 197


def test_a_session_is_offered_again_when_its_image_was_left(
    open_dock,
    stack,
    qtbot,
    killed,  # noqa: F811
    engine,
):
    opened = open_dock(stack, stack[:, ::-1], show=True)
    image, other = (opened.viewer.layers[name] for name in ("image", "image [1]"))
    opened.points.add([0, 43, 18])
    opened.wait_idle()
    engine.gate = engine.predictors[-1]._gate = threading.Semaphore(0)
    opened.controller.plane.propagate()
    opened.dock.image.image.chosen.emit(image)
    qtbot.waitUntil(opened.dock.offer.isVisible, timeout=5000)
    opened.controller.files.answer(True)
    qtbot.wait(500)
    opened.dock.image.image.chosen.emit(other)
    engine.gate.release(100)
    opened.wait_idle()
    opened.dock.image.image.chosen.emit(image)
    qtbot.waitUntil(opened.dock.offer.isVisible, timeout=5000)


def test_masks_beyond_an_image_that_became_smaller(open_dock, stack, qtbot, messages):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    opened.controller.plane.propagate()
    opened.wait_idle()
    opened.viewer.layers["image"].data = stack[:, :40, :40]
    opened.viewer.dims.set_current_step(0, 2)
    opened.controller.new_object()
    opened.points.add([2, 20, 17])
    opened.wait_idle()
    layer = opened.workspace.target
    layer.selected_label = 1
    layer.paint((2, 5, 5), 1)
    opened.controller.objects.split(2)
    settled(opened, qtbot)
    (key,) = opened.session.stacks
    assert plane_mask(opened.session.masks(key, 2)[1], (40, 40))[5, 5]
    assert len(opened.session.objects) == 4
    assert opened.session.prompts(key)[4, 2][0].shape == (40, 40)
    assert not any("broadcast" in text for _, text in messages)

"""Images that are left, deleted or made smaller while something is done to their objects."""

import threading

import numpy as np
import pytest
from tests.plugin.conftest import sizes
from tests.plugin.test_saving import folders, killed  # noqa: F401, a fixture
from tests.plugin.test_undo import settled

from napari_sam2.session.folder import read_session
from napari_sam2.session.log import Run
from napari_sam2.session.masks import plane_mask


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


@pytest.mark.parametrize("what", ["click", "segment", "propagate", "one object each"])
def test_what_waits_is_run_though_its_image_was_left(two, qtbot, what):
    mine = two.viewer.add_points([[0, 44, 46], [3, 44, 43]])
    two.controller.set_auto_run(what == "click")
    two.propagate()
    if what == "one object each":
        two.viewer.layers.selection.active = mine
        two.controller.objects.one_each()
    else:
        two.points.add([0, 44, 46])
        qtbot.wait(200)
    if what == "segment":
        two.controller.plane.run()
    elif what == "propagate":
        two.controller.plane.propagate()
    two.choose(two.other)
    two.finish()
    (key,) = two.session.stacks
    found = [two.session.masks(key, frame) for frame in (0, 3)]
    passes = [each for each in two.session.log if isinstance(each, Run) and each.request]
    if what == "one object each":
        assert [masks.keys() for masks in found] == [{1, 2}, {1, 3}]
    else:
        assert int((found[0][1].crop.logits > 0).sum()) == 2 * 197
    assert len(passes) == (2 if what == "propagate" else 1)


@pytest.mark.parametrize("gone", ["image", "points"])
def test_a_click_is_run_though_another_image_with_one_is_gone(two, qtbot, gone):
    two.propagate()
    two.controller.new_object()
    two.points.add([0, 44, 46])
    qtbot.wait(50)
    two.choose(two.other)
    points = two.workspace.prompts.points
    points.add([0, 43, 18])
    qtbot.wait(250)
    two.choose(two.image)
    two.viewer.layers.remove(two.other if gone == "image" else points)
    two.finish()
    key = next(key for key in two.session.stacks if key.image == str(two.image.unique_id))
    assert two.session.masks(key, 0)[2].present


def test_a_first_click_in_another_image_is_saved_though_it_was_left_at_once(two, qtbot, sessions):
    two.propagate()
    two.choose(two.other)
    two.workspace.prompts.points.add([0, 43, 18])
    qtbot.wait(100)
    two.dock.image.image.chosen.emit(two.image)
    qtbot.wait(1500)
    assert two.controller.is_busy
    found = [read_session(path, "image") for path in folders(sessions)]
    assert sorted(session.image.name for session in found) == ["image", "image [1]"]
    two.finish()


@pytest.mark.parametrize("what", ["nothing yet", "painted", "label"])
def test_the_next_object_of_an_image_that_was_left_keeps_its_number(two, qtbot, what):
    if what != "nothing yet":
        two.propagate()
    two.controller.new_object()
    if what == "painted":
        two.workspace.target.paint((0, 5, 50), 2)
    elif what == "label":
        cells = np.zeros((6, 64, 64), int)
        cells[0, 30:40, 30:40] = 5
        labels = two.viewer.add_labels(cells)
        labels.selected_label = 5
        two.viewer.layers.selection.active = labels
        two.controller.plane.use_label()
    two.choose(two.other)
    two.workspace.prompts.points.add([0, 43, 18])
    qtbot.wait(250)
    two.choose(two.image)
    two.workspace.prompts.points.add([0, 44, 46])
    if what == "nothing yet":
        settled(two, qtbot)
    else:
        two.finish()
    found = {
        key.image: {number for number, _ in two.session.prompts(key)} for key in two.session.stacks
    }
    assert found == {str(two.image.unique_id): {1, 2}, str(two.other.unique_id): {3}}


def test_a_click_after_its_object_was_merged_from_another_image(two, qtbot):
    points = two.points
    two.controller.new_object()
    points.add([0, 44, 46])
    settled(two, qtbot)
    two.choose(two.other)
    two.controller.objects.merge([1, 2])
    two.viewer.layers.selection.active = points
    points.add([0, 44, 47])
    settled(two, qtbot)
    assert list(points.features["object"]) == [1, 1, 1]


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


def test_an_empty_layer_of_the_user_in_an_image_that_was_left_keeps_its_number(two, qtbot):
    mine = two.viewer.add_points(np.empty((0, 3)))
    two.choose(two.other)
    two.controller.choose_points(mine)
    two.controller.new_object()
    two.choose(two.image)
    two.controller.new_object()
    two.workspace.prompts.points.add([0, 44, 46])
    settled(two, qtbot)
    two.viewer.layers.selection.active = mine
    mine.add([0, 43, 18])
    settled(two, qtbot)
    found = [{number for number, _ in two.session.prompts(key)} for key in two.session.stacks]
    assert len(found) == 2
    assert not found[0] & found[1]

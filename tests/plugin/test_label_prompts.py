"""A label of a Labels layer as a mask prompt."""

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_sam2.inference.prompts import MaskPrompt, PointPrompt
from napari_sam2.session.pass_request import PassRequest


def told(messages, *words):
    return any(all(word in message for word in words) for _, message in messages)


@pytest.fixture
def opened(open_dock, stack):
    """A dock beside a Labels layer of the user's, with label 7 in it on plane 2."""
    opened = open_dock(stack)
    labels = np.zeros(stack.shape, np.uint8)
    labels[2, 30:40, 5:15] = 7
    opened.mine = opened.viewer.add_labels(labels, name="mine")
    opened.mine.selected_label = 7
    opened.viewer.dims.set_current_step(0, 2)
    return opened


def mask_of(opened):
    return MaskPrompt(np.asarray(opened.mine.data[2]) == 7)


def held(opened):
    return opened.session.prompts(opened.workspace.geometry().key)


def test_a_label_is_a_mask_of_the_active_object(opened, qtbot, messages):
    opened.controller.prompting.set_active(3, True)
    qtbot.mouseClick(opened.dock.prompts.use_label, Qt.MouseButton.LeftButton)
    opened.wait_idle()
    assert held(opened) == {(3, 2): (mask_of(opened),)}
    np.testing.assert_array_equal(opened.labels()[2] == 3, mask_of(opened).mask)
    assert opened.dock.footer.status.text() == "Object 3: as given"
    assert (opened.mine.data > 0).sum() == 100
    assert messages == []


def test_a_label_of_the_layer_that_results_go_to(opened, messages):
    opened.controller.choose_target(opened.mine)
    opened.viewer.layers.selection.active = opened.mine
    opened.mine.selected_label = 7
    mask = mask_of(opened)
    opened.controller.plane.use_label()
    opened.wait_idle()
    assert held(opened) == {(opened.controller.prompting.active[0], 2): (mask,)}
    assert messages == []


def test_it_stays_when_points_and_shapes_come_and_go(opened, engine):
    opened.controller.plane.use_label()
    opened.points.add([2, 20, 20])
    opened.wait_idle()
    assert held(opened) == {(1, 2): (PointPrompt((20, 20)), mask_of(opened))}
    assert (opened.labels()[2] == 1).sum() == 100 + 197
    opened.viewer.layers.remove(opened.points)
    opened.controller.plane.run()
    opened.wait_idle()
    assert held(opened) == {(1, 2): (mask_of(opened),)}
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert engine.predictors[0].calls[-1][0] == "propagate"


def test_another_label_takes_its_place(opened):
    opened.controller.plane.use_label()
    opened.mine.data[2, :3, :3] = 9
    opened.mine.selected_label = 9
    opened.controller.plane.use_label()
    opened.wait_idle()
    ((prompt,),) = held(opened).values()
    assert prompt.mask.sum() == 9


def test_taking_it_back_leaves_the_clicks(opened, qtbot, messages):
    opened.points.add([2, 20, 20])
    opened.wait_idle()
    opened.viewer.layers.selection.active = opened.mine
    opened.controller.plane.use_label()
    opened.wait_idle()
    qtbot.mouseClick(opened.dock.prompts.remove_label, Qt.MouseButton.LeftButton)
    opened.wait_idle()
    assert held(opened) == {(1, 2): (PointPrompt((20, 20)),)}
    assert (opened.labels()[2] == 1).sum() == 197
    assert messages == []
    opened.controller.plane.remove_label()
    assert told(messages, "has no label as its mask on this plane")


def test_without_clicks_the_mask_goes_with_it(opened):
    opened.controller.plane.use_label()
    opened.wait_idle()
    assert (opened.labels()[2] == 1).sum() == 100
    opened.controller.plane.remove_label()
    opened.wait_idle()
    assert held(opened) == {}
    assert not opened.labels().any()


def test_a_painted_result_becomes_the_mask(opened):
    opened.points.add([2, 20, 20])
    opened.wait_idle()
    result = opened.viewer.layers["SAM 2 labels"]
    result.data[2, 50:60, 50:60] = 1
    opened.viewer.layers.selection.active = result
    result.selected_label = 1
    opened.controller.plane.use_label()
    opened.controller.plane.propagate(PassRequest("forward"))
    opened.wait_idle()
    assert (opened.labels()[2] == 1).sum() == 197 + 100


def test_a_label_of_a_turned_stack(opened):
    opened.viewer.dims.order = (1, 0, 2)  # rows as frames; planes of z and columns
    opened.viewer.dims.set_current_step(1, 33)
    opened.controller.plane.use_label()
    opened.wait_idle()
    (((object_id, frame), (prompt,)),) = held(opened).items()
    assert (object_id, frame) == (1, 33)
    assert prompt.mask.shape == (6, 64)
    np.testing.assert_array_equal(np.argwhere(prompt.mask), [[2, c] for c in range(5, 15)])


def test_a_mask_for_pixels_that_are_gone_is_left_out(opened, messages):
    opened.controller.plane.use_label()
    opened.wait_idle()
    opened.viewer.layers["image"].data = np.zeros((6, 32, 32), np.uint8)
    opened.controller.plane.run()
    assert held(opened) == {}
    assert told(messages, "no prompt on this plane")


def test_what_cannot_be_used(opened, messages):
    use = opened.controller.plane.use_label
    opened.viewer.dims.set_current_step(0, 1)
    use()
    assert told(messages, "Label 7 of the layer “mine” is not on this plane")
    opened.mine.selected_label = 0
    use()
    assert told(messages, "“mine” is the background")
    opened.viewer.add_labels(np.ones((3, 3), int), name="small")
    use()
    assert told(messages, "“small” has shape (3, 3)", "(6, 64, 64)")
    opened.viewer.layers.selection.active = opened.points
    use()
    assert told(messages, "No Labels layer is selected")
    opened.viewer.layers.clear()
    use()
    opened.controller.plane.remove_label()
    opened.controller.plane.next_candidate()
    assert told(messages, "There is no image layer")
    assert opened.session.stacks == ()

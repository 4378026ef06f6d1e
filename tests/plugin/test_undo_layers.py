"""Undo where prompt layers were deleted, chosen or changed."""

import numpy as np
import pytest
from tests.plugin.test_undo import held, settled


@pytest.mark.parametrize("replaced", [False, True])
def test_a_deleted_prompt_layer_comes_back(open_dock, stack, qtbot, replaced):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.new_object()
    opened.shapes.add_ellipses([[0, 34, 36], [0, 34, 56], [0, 54, 56], [0, 54, 36]])
    opened.wait_idle()
    labels, prompts = opened.labels().copy(), held(opened)
    for layer in (opened.points, opened.shapes):
        opened.viewer.layers.remove(layer)
        settled(opened, qtbot)
    assert held(opened) == {}
    if replaced:
        opened.controller.prepare_layers()
    for _ in range(2):
        opened.controller.undo()
        settled(opened, qtbot)
    assert opened.workspace.shapes.shape_type == ["ellipse"]
    np.testing.assert_array_equal(opened.workspace.points.data, [[0, 20, 18]])
    assert opened.workspace.points.feature_defaults["object"].item() == 2
    opened.controller.plane.run()
    opened.wait_idle()
    assert held(opened) == prompts
    np.testing.assert_array_equal(opened.labels(), labels)
    for _ in range(5):
        opened.controller.undo()
        settled(opened, qtbot)
    assert not opened.session.undo_name
    assert opened.session.redo_name
    assert not opened.labels().any()
    assert len(opened.workspace.points.data) == opened.workspace.shapes.nshapes == 0


def test_undo_after_a_layer_of_the_user_was_chosen_and_deleted(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.viewer.layers.remove(opened.shapes)
    box = [[0, 10, 8], [0, 10, 30], [0, 32, 30], [0, 32, 8]]
    mine = opened.viewer.add_shapes([box], shape_type="rectangle", name="mine")
    opened.controller.choose_shapes(mine)
    opened.wait_idle()
    prompts = held(opened)
    opened.viewer.layers.remove(mine)
    settled(opened, qtbot)
    opened.controller.undo()
    settled(opened, qtbot)
    assert mine in opened.viewer.layers
    assert held(opened) == prompts
    for _ in range(3):
        opened.controller.undo()
        settled(opened, qtbot)
    assert held(opened) == {}
    assert not opened.session.undo_name
    assert opened.workspace.shapes is None
    assert mine.nshapes == 1


def test_undo_leaves_what_was_changed_in_a_layer_that_was_not_in_use(open_dock, stack, qtbot):
    opened = open_dock(stack)
    mine = opened.viewer.add_points([[0, 20, 18]], name="mine")
    opened.controller.choose_points(mine)
    opened.wait_idle()
    mine.add([0, 44, 46])
    opened.wait_idle()
    for move, count in ((opened.controller.undo, 1), (opened.controller.redo, 2)):
        move()
        settled(opened, qtbot)
        assert len(mine.data) == count
    opened.controller.choose_points(None)
    opened.wait_idle()
    changed = [[0, 10, 10], [0, 20, 18], [0, 44, 46]]
    mine.data = changed
    opened.controller.undo()
    settled(opened, qtbot)
    assert opened.workspace.points is mine
    np.testing.assert_array_equal(mine.data, changed)

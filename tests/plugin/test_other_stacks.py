"""Prompts in stacks of the image that are not in view."""

import numpy as np
from tests.plugin.test_undo import settled


def times(stack):
    return np.stack([stack] * 2)


def test_points_that_are_deleted_from_another_time_are_gone(open_dock, stack, qtbot):
    opened = open_dock(times(stack))
    opened.viewer.dims.set_current_step(1, 2)
    opened.points.add([0, 2, 20, 20])
    opened.wait_idle()
    opened.viewer.dims.set_current_step(0, 1)
    opened.points.add([1, 2, 20, 20])
    opened.wait_idle()
    both = opened.labels().copy()
    opened.points.selected_data = {0}
    opened.points.remove_selected()
    settled(opened, qtbot)
    assert (opened.labels()[1] == both[1]).all()
    assert not opened.labels()[0].any()
    opened.controller.undo()
    settled(opened, qtbot)
    np.testing.assert_array_equal(opened.labels(), both)
    assert len(opened.points.data) == 2


def test_a_point_that_two_stacks_see_is_gone_from_both(open_dock, stack, qtbot):
    opened = open_dock(times(stack))
    opened.points.add([0, 2, 20, 20])
    opened.wait_idle()
    opened.viewer.dims.set_current_step(1, 2)
    opened.workspace.choose_frame_axis(0)
    opened.controller.plane.run()
    opened.wait_idle()
    assert len(opened.session.stacks) == 2
    opened.points.selected_data = {0}
    opened.points.remove_selected()
    settled(opened, qtbot)
    assert not opened.labels().any()
    assert not any(opened.session.prompts(stack) for stack in opened.session.stacks)


def test_a_point_of_another_time_that_has_others_runs_again(open_dock, stack, qtbot, engine):
    opened = open_dock(times(stack))
    opened.points.add([0, 2, 20, 20])
    opened.wait_idle()
    opened.points.add([0, 2, 21, 20])
    opened.wait_idle()
    (key,) = opened.session.stacks
    opened.viewer.dims.set_current_step(0, 1)
    opened.points.selected_data = {1}
    opened.points.remove_selected()
    settled(opened, qtbot)
    assert len(opened.session.prompts(key)[1, 2]) == 1
    assert opened.session.log[-1].stack == key
    assert opened.session.log[-1].results == 1

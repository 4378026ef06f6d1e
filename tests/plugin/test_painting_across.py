"""Strokes over objects that have their masks in a stack along other axes."""

import numpy as np
import pytest
from tests.plugin.conftest import sizes
from tests.plugin.test_undo import settled


@pytest.fixture
def across(open_dock, stack, qtbot):
    """An object that was carried through z, seen from another side, with the labels layer."""
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.plane.propagate()
    settled(opened, qtbot)
    opened.viewer.dims.order = (1, 0, 2)
    opened.viewer.dims.set_current_step(1, 20)
    opened.layer = opened.viewer.layers["SAM 2 labels"]
    opened.layer.brush_size = 3
    return opened


def test_erasing_is_taken_out_of_the_masks_that_are_there(across, qtbot):
    before = across.labels().copy()
    across.layer.paint((2, 20, 20), 0)
    settled(across, qtbot)
    assert across.session.undo_name == "Paint"
    after = across.labels().copy()
    assert 0 < (before != after).sum() < 40
    (key,) = across.session.stacks
    for frame in range(6):
        crop = across.session.masks(key, frame)[1].crop
        assert (crop.logits > 0).sum() == (after[frame] == 1).sum()
    across.controller.undo()
    settled(across, qtbot)
    np.testing.assert_array_equal(across.labels(), before)
    across.controller.redo()
    settled(across, qtbot)
    np.testing.assert_array_equal(across.labels(), after)


def test_another_object_is_painted_over(across, qtbot):
    across.layer.paint((2, 20, 20), 2)
    settled(across, qtbot)
    painted = (across.labels() == 2).sum()
    assert painted > 0
    assert sum(sizes(across.labels(), 1)) == 6 * 197 - painted
    across.controller.undo()
    settled(across, qtbot)
    assert sizes(across.labels(), 1) == [197] * 6


def test_painting_along_another_frame_axis_adds_to_what_is_there(open_dock, stack, qtbot):
    opened = open_dock(np.stack([stack] * 2))
    opened.points.add([0, 0, 20, 18])
    opened.controller.plane.propagate()
    settled(opened, qtbot)
    opened.workspace.choose_frame_axis(0)
    layer = opened.viewer.layers["SAM 2 labels"]
    layer.brush_size = 1
    layer.paint((0, 0, 5, 50), 1)
    settled(opened, qtbot)
    assert (opened.labels()[0, 0] == 1).sum() == 198
    (along_time,) = (s for s in opened.session.stacks if s.frame_axis == 0)
    ((prompt,),) = opened.session.prompts(along_time).values()
    assert prompt.mask.sum() == 198


def test_undo_and_redo_from_another_side(across, qtbot):
    """What is drawn is no prompt of a stack that is merely in view."""
    across.controller.undo()
    settled(across, qtbot)
    assert sum(sizes(across.labels(), 1)) == 197
    across.viewer.dims.order = (0, 1, 2)
    across.controller.undo()
    settled(across, qtbot)
    assert not across.labels().any()
    for _ in range(2):
        across.controller.redo()
        settled(across, qtbot)
    assert sizes(across.labels(), 1) == [197] * 6


def test_masks_of_another_stack_fill_what_a_deleted_object_leaves(across, qtbot):
    opened = across
    along_z = opened.labels().copy()
    opened.controller.new_object()
    opened.points.add([2, 20, 40])
    settled(opened, qtbot)
    (rolled,) = (s for s in opened.session.stacks if s.plane_axes == (0, 2))
    assert opened.session.frames(rolled) == (20,)
    opened.viewer.dims.order = (0, 1, 2)
    opened.controller.objects.delete([1])
    settled(opened, qtbot)
    opened.controller.undo()
    settled(opened, qtbot)
    opened.controller.objects.delete([2])
    settled(opened, qtbot)
    np.testing.assert_array_equal(opened.labels(), along_z)

"""An outline that the mouse is drawing, when something else is done meanwhile."""

from __future__ import annotations

import pytest
from tests.plugin.conftest import sizes
from tests.plugin.test_dock import begin_polygon

from napari_sam2.inference.prompts import BoxPrompt

BOX = [[0, 36, 38], [0, 36, 54], [0, 52, 54], [0, 52, 38]]
CORNERS = [(8, 8), (8, 30), (32, 30)]


@pytest.fixture
def boxed(open_dock, stack, qtbot):
    opened = open_dock(stack, show=True)
    opened.shapes.add_rectangles(BOX)
    settle(opened, qtbot)
    opened.controller.new_object()
    return opened


def settle(opened, qtbot):
    qtbot.wait(250)
    opened.wait_idle()


def kinds_of(opened):
    return {
        number: [type(prompt) for prompt in prompts]
        for stack in opened.session.stacks
        for (number, _), prompts in opened.session.prompts(stack).items()
    }


def test_redo_brings_back_what_was_undone(boxed, qtbot):
    boxed.controller.undo()
    settle(boxed, qtbot)
    begin_polygon(boxed, qtbot, CORNERS[:1])
    boxed.controller.redo()
    settle(boxed, qtbot)
    assert kinds_of(boxed) == {1: [BoxPrompt]}
    assert boxed.shapes.shape_type == ["rectangle"]
    assert not boxed.shapes._is_creating


@pytest.mark.parametrize("corners", [1, 3])
def test_it_is_given_up_where_an_object_is_deleted(boxed, qtbot, corners):
    begin_polygon(boxed, qtbot, CORNERS[:corners])
    boxed.controller.objects.delete([1])
    settle(boxed, qtbot)
    assert len(boxed.shapes.data) == 0
    assert not boxed.shapes._is_creating
    assert kinds_of(boxed) == {}
    boxed.controller.undo()
    settle(boxed, qtbot)
    assert kinds_of(boxed) == {1: [BoxPrompt]}
    assert boxed.shapes.shape_type == ["rectangle"]


def test_one_corner_is_no_object_of_its_own(boxed, qtbot):
    before = sizes(boxed.labels(), 1)
    begin_polygon(boxed, qtbot, CORNERS[:1])
    boxed.controller.objects.one_each()
    settle(boxed, qtbot)
    assert kinds_of(boxed) == {1: [BoxPrompt]}
    assert sizes(boxed.labels(), 1) == before
    assert len(boxed.shapes.data) == len(boxed.shapes.features) == 1

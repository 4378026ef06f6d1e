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
    assert opened.workspace.prompts.shapes.shape_type == ["ellipse"]
    np.testing.assert_array_equal(opened.workspace.prompts.points.data, [[0, 20, 18]])
    assert opened.workspace.prompts.points.feature_defaults["object"].item() == 2
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
    assert len(opened.workspace.prompts.points.data) == opened.workspace.prompts.shapes.nshapes == 0


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
    assert opened.workspace.prompts.shapes is None
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
    assert opened.workspace.prompts.points is mine
    np.testing.assert_array_equal(mine.data, changed)


def test_undo_leaves_the_look_of_points_and_shapes_of_the_user(open_dock, stack, qtbot):
    opened = open_dock(stack)
    points = opened.viewer.add_points(
        [[0, 20, 18], [0, 44, 46], [2, 20, 20]],
        size=[3, 6, 9],
        symbol=["disc", "cross", "star"],
        face_color=["red", "green", "blue"],
        features={"object": [1, 2, 3]},
    )
    box = np.array([[0, 12, 10], [0, 12, 26], [0, 28, 26], [0, 28, 10]])
    shapes = opened.viewer.add_shapes(
        [box, box + 3], shape_type="rectangle", edge_color=["red", "blue"], edge_width=[4, 2]
    )
    shapes.features = {"object": [7, 8]}
    colors = points.face_color.copy(), shapes.edge_color.copy()
    opened.controller.choose_points(points)
    opened.controller.choose_shapes(shapes)
    opened.wait_idle()
    points.selected_data = {1}
    points.remove_selected()
    settled(opened, qtbot)
    shapes.add(box + 5, shape_type="rectangle", edge_color="white", edge_width=1)
    settled(opened, qtbot)
    points.size = [5, 9]  # changed since: it stays
    for _ in range(2):
        opened.controller.undo()
        settled(opened, qtbot)
    assert points.size.tolist() == [5, 6, 9]
    assert [symbol.value for symbol in points.symbol] == ["disc", "cross", "star"]
    np.testing.assert_array_equal(points.face_color, colors[0])
    assert shapes.edge_width == [4, 2]
    np.testing.assert_array_equal(shapes.edge_color, colors[1])


def test_what_is_drawn_during_a_run_is_taken_though_the_image_was_left(
    propagating, stack, qtbot, engine
):
    opened = propagating()
    first = opened.workspace.image
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    qtbot.wait(300)  # it waits for the end of the run
    opened.controller.choose_image(opened.viewer.add_image(stack[::-1].copy(), name="B"))
    engine.gate.release(100)
    opened.wait_idle()
    prompts = {
        key
        for at in opened.session.stacks
        if at.image == str(first.unique_id)
        for key in opened.session.prompts(at)
    }
    assert prompts == {(1, 0), (2, 0)}
    opened.controller.choose_image(first)
    settled(opened, qtbot)
    assert len(opened.workspace.prompts.points.data) == 2

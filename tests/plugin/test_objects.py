"""The table of objects and the timeline, by mouse and keys."""

from dataclasses import replace

import numpy as np
import pytest
from qtpy.QtCore import QPoint, Qt
from tests.plugin.conftest import discs, sizes

from napari_sam2.plugin import keys
from napari_sam2.plugin.widgets.objects_section import CERTAINTY, NAME, SHOWN
from napari_sam2.plugin.widgets.timeline import Strip

LEFT = Qt.MouseButton.LeftButton
CONTROL = Qt.KeyboardModifier.ControlModifier


@pytest.fixture
def clicked(open_dock, stack):
    """A dock in which objects 1 and 2 were clicked on plane 0."""
    opened = open_dock(stack, show=True)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    return opened


@pytest.fixture
def two(clicked):
    """The same, with both carried through the stack."""
    clicked.controller.plane.propagate()
    clicked.wait_idle()
    return clicked


@pytest.fixture
def table(two, qtbot):
    qtbot.waitUntil(lambda: rows(two)[:1] == [("object 1", "6", "1.00")], timeout=2000)
    return two.dock.objects.table


def rows(opened):
    model = opened.dock.objects.model
    return [
        tuple(model.index(row, column).data() for column in range(NAME, CERTAINTY + 1))
        for row in range(model.rowCount())
    ]


def click(table, qtbot, row, column=NAME, modifier=Qt.KeyboardModifier.NoModifier, double=False):
    place = table.visualRect(table.model().index(row, column)).center()
    press = qtbot.mouseDClick if double else qtbot.mouseClick
    press(table.viewport(), LEFT, modifier, place)


def test_the_table_says_what_there_is(two, table):
    assert rows(two) == [("object 1", "6", "1.00"), ("object 2", "6", "1.00")]
    assert two.dock.objects.selected == [2]
    assert not two.dock.objects.merge.isEnabled()


def test_a_row_makes_its_object_active_and_the_other_way_round(two, table, qtbot):
    click(table, qtbot, 0)
    assert two.controller.prompting.active == (1, True)
    assert two.dock.prompts.object.value() == 1
    two.dock.prompts.object.setValue(2)
    qtbot.waitUntil(lambda: two.dock.objects.selected == [2], timeout=2000)


def test_hide_and_show(two, table, qtbot):
    index = table.model().index(0, SHOWN)
    place = table.visualRect(index).topLeft() + QPoint(10, table.rowHeight(0) // 2)
    role = Qt.ItemDataRole.CheckStateRole
    for expected in (0, 197):
        qtbot.mouseClick(table.viewport(), LEFT, Qt.KeyboardModifier.NoModifier, place)
        state = Qt.CheckState.Checked if expected else Qt.CheckState.Unchecked
        qtbot.waitUntil(lambda wanted=state: index.data(role) == wanted, timeout=2000)
        assert sizes(two.labels(), 1) == [expected] * 6
        assert sizes(two.labels(), 2) == [197] * 6


def test_rename(two, table, qtbot):
    click(table, qtbot, 0)
    click(table, qtbot, 0, double=True)
    editor = table.indexWidget(table.model().index(0, NAME)) or table.findChild(
        type(two.dock.propagate.first.lineEdit())
    )
    editor.selectAll()
    qtbot.keyClicks(editor, "nucleus")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: rows(two)[0][0] == "nucleus", timeout=2000)
    assert two.session.find_object(1).name == "nucleus"
    two.controller.undo()
    qtbot.waitUntil(lambda: rows(two)[0][0] == "object 1", timeout=2000)


def test_a_name_that_is_typed_stays_when_a_plane_is_found(two, table, qtbot):
    click(table, qtbot, 0)
    click(table, qtbot, 0, double=True)
    editor = table.findChild(type(two.dock.propagate.first.lineEdit()))
    editor.selectAll()
    qtbot.keyClicks(editor, "nucl")
    model = two.dock.objects.model
    fewer = tuple(replace(row, planes=row.planes - 1) for row in model.rows)
    model.set_rows(fewer)
    qtbot.keyClicks(editor, "eus")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: two.session.find_object(1).name == "nucleus", timeout=2000)


def test_delete_takes_the_clicks_along_and_undo_brings_them_back(two, table, qtbot):
    click(table, qtbot, 0)
    qtbot.mouseClick(two.dock.objects.delete, LEFT)
    assert sizes(two.labels(), 1) == [0] * 6
    assert two.points.features["object"].tolist() == [2]
    qtbot.waitUntil(lambda: rows(two) == [("object 2", "6", "1.00")], timeout=2000)
    two.wait_idle()
    assert [entry.object_id for entry in two.session.objects] == [2]
    qtbot.keyClick(two.viewer.window._qt_viewer.canvas.native, Qt.Key.Key_U)
    two.wait_idle()
    assert sizes(two.labels(), 1) == [197] * 6
    assert two.points.features["object"].tolist() == [1, 2]


def test_merge(two, table, qtbot):
    click(table, qtbot, 0)
    click(table, qtbot, 1, modifier=CONTROL)
    qtbot.mouseClick(two.dock.objects.merge, LEFT)
    assert sizes(two.labels(), 1) == [394] * 6
    assert two.points.features["object"].tolist() == [1, 1]
    two.wait_idle()
    (stack,) = two.session.stacks
    assert {key: len(found) for key, found in two.session.prompts(stack).items()} == {(1, 0): 2}
    assert two.controller.prompting.active[0] == 1
    two.controller.undo()
    two.wait_idle()
    assert sizes(two.labels(), 2) == [197] * 6


@pytest.mark.parametrize("what", ["merge", "delete"])
def test_what_is_drawn_for_other_images_goes_along(open_dock, stack, qtbot, what):
    opened = open_dock(stack)
    first, second = opened.workspace.image, opened.viewer.add_image(stack[::-1], name="other")
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.choose_image(second)
    opened.viewer.dims.set_current_step(0, 5)
    points = opened.workspace.prompts.points
    for number, place in enumerate(([5, 20, 18], [5, 44, 46]), start=1):
        opened.controller.prompting.set_active(number, True)
        points.add(place)
        opened.wait_idle()
    labels = opened.workspace.target.data
    colors, shown = points.face_color.copy(), labels.copy()
    opened.controller.choose_image(first)
    if what == "merge":
        opened.controller.objects.merge([1, 2])
        numbers, expected = [1, 1], np.where(shown == 2, 1, shown)
    else:
        opened.controller.objects.delete([2])
        numbers, expected = [1], np.where(shown == 2, 0, shown)
    for _ in range(2):
        opened.wait_idle()
        assert points.features["object"].tolist() == numbers
        assert (points.face_color == colors[0]).all()
        opened.controller.undo()
        opened.wait_idle()
        assert points.features["object"].tolist() == [1, 2]
        np.testing.assert_array_equal(points.face_color, colors)
        np.testing.assert_array_equal(labels, shown)
        opened.controller.redo()
    opened.controller.choose_image(second)
    opened.controller.plane.run()
    opened.wait_idle()
    assert [entry.object_id for entry in opened.session.objects] == [1]
    np.testing.assert_array_equal(labels, expected)


def test_split_off_from_the_plane_in_view(two, table, qtbot):
    click(table, qtbot, 0)
    two.viewer.dims.set_point(0, 3)
    qtbot.mouseClick(two.dock.objects.split, LEFT)
    assert sizes(two.labels(), 1) == [197] * 3 + [0] * 3
    assert sizes(two.labels(), 3) == [0] * 3 + [197] * 3
    qtbot.waitUntil(lambda: [row[1] for row in rows(two)] == ["3", "6", "3"], timeout=2000)
    # a part with masks alone got one as its prompt, and can be carried on
    (stack,) = two.session.stacks
    assert sorted(two.session.prompts(stack)) == [(1, 0), (2, 0), (3, 3)]


def test_what_is_drawn_later_goes_with_what_is_split_off(two, table, qtbot):
    two.controller.prompting.set_active(1, True)
    two.viewer.dims.set_point(0, 4)
    two.points.add([4, 20, 22])
    two.wait_idle()
    click(table, qtbot, 0)
    two.viewer.dims.set_point(0, 2)
    qtbot.mouseClick(two.dock.objects.split, LEFT)
    assert two.points.features["object"].tolist() == [1, 2, 3]


def test_split_where_nothing_is_left_says_so(two, table, qtbot, messages):
    click(table, qtbot, 0)
    qtbot.mouseClick(two.dock.objects.split, LEFT)
    assert messages[-1][0] == "warning"
    assert "cannot be split at plane 0" in messages[-1][1]
    assert len(two.session.objects) == 2


def test_prompts_in_a_layer_of_the_users_own_stay_there(two, table, qtbot, messages):
    own = two.viewer.add_points([[0, 20, 18], [0, 44, 46]], features={"object": [1, 2]}, name="own")
    two.controller.choose_points(own)
    two.wait_idle()
    click(table, qtbot, 0)
    click(table, qtbot, 1, modifier=CONTROL)
    qtbot.mouseClick(two.dock.objects.merge, LEFT)
    assert "in your own layer “own”" in messages[-1][1]
    assert len(two.session.objects) == 2
    click(table, qtbot, 0)
    qtbot.mouseClick(two.dock.objects.delete, LEFT)
    two.controller.plane.run()
    two.wait_idle()
    assert [entry.object_id for entry in two.session.objects] == [2]
    assert own.features["object"].tolist() == [1, 2]


def test_objects_are_changed_after_a_run(propagating, qtbot, engine):
    opened = propagating()
    opened.controller.objects.delete([1])
    assert len(opened.session.objects) == 1
    engine.gate.release(20)
    opened.wait_idle()
    assert opened.session.objects == ()
    assert not opened.labels().any()


def test_a_click_on_the_strip_goes_there(two, table, qtbot):
    strip = two.dock.timeline.strip
    qtbot.mouseClick(strip, LEFT, pos=QPoint(strip.width() - 2, 20))
    assert two.viewer.dims.current_step[0] == 5
    qtbot.waitUntil(
        lambda: two.dock.timeline.text.text() == "plane 5 · certainty 1.00", timeout=2000
    )
    qtbot.mouseClick(strip, LEFT, pos=QPoint(1, 20))
    qtbot.waitUntil(
        lambda: two.dock.timeline.text.text() == "plane 0 · certainty 1.00 · prompted", timeout=2000
    )


def test_the_strip_draws_certain_doubtful_absent_and_unknown_frames_differently(qtbot):
    strip = Strip()
    qtbot.addWidget(strip)
    strip.resize(600, strip.height())
    strip.count, strip.frame, strip.object_id = 6, 5, 1
    strip.scores, strip.prompted = {0: 0.95, 1: 0.4, 2: None}, frozenset({1})
    picture = strip.grab().toImage()

    def color(frame, y):
        return picture.pixelColor(frame * 100 + 30, y).name()

    bottom = strip.height() - 2
    assert len({color(frame, bottom) for frame in range(4)}) == 4
    assert color(0, bottom) == "#3e96be"
    assert color(1, bottom) == "#e66101"
    assert color(1, 15) == color(3, 15) != color(0, 15)  # the more certain, the higher
    assert picture.pixelColor(150, 2) != picture.pixelColor(50, 2)  # a mark where it was prompted


def test_a_thousand_frames_show_the_worst_of_each_bar(qtbot):
    strip = Strip()
    qtbot.addWidget(strip)
    strip.resize(300, strip.height())
    strip.count, strip.frame = 3000, 2999
    strip.scores = dict.fromkeys(range(3000), 0.95) | {1505: 0.4}
    picture = strip.grab().toImage()
    y = strip.height() - 2
    found = [x for x in range(290) if picture.pixelColor(x, y).name() == "#e66101"]
    assert found
    assert all(abs(x - 150) <= 2 for x in found)


def test_the_least_certain_plane_is_one_key_away(two, table, qtbot, messages):
    scores = {0: 1.0, 1: 0.5, 2: 0.25, 3: 0.75, 4: 1.0, 5: 1.0}
    two.controller.prompting.set_active(1, True)
    (stack,) = two.session.stacks
    overview = two.controller.objects.overview
    for frame, score in scores.items():
        object.__setattr__(two.session.masks(stack, frame)[1], "score", score)
    assert overview.least_certain(stack, 1)[:3] == (2, 1, 3)
    native = two.viewer.window._qt_viewer.canvas.native
    visited = []
    for _ in range(3):
        qtbot.keyClick(native, keys.LEAST_CERTAIN)
        visited.append(two.viewer.dims.current_step[0])
    assert visited == [2, 1, 3]
    two.controller.new_object()
    qtbot.keyClick(native, keys.LEAST_CERTAIN)
    assert "Propagate it first" in messages[-1][1]


@pytest.mark.parametrize("scale", [1.0, 2.5])
def test_the_strip_in_a_scaled_time_lapse_of_stacks(open_dock, qtbot, scale):
    data = np.stack([discs(), discs()[::-1]])
    opened = open_dock(data, scale=(3, scale, 1, 1), translate=(5, 7, 0, 0))
    opened.viewer.dims.set_point(0, 8)
    opened.controller.objects.go_to(4)
    assert tuple(opened.viewer.dims.current_step[:2]) == (1, 4)
    geometry = opened.workspace.geometry()
    assert (opened.workspace.frame(geometry), geometry.key.fixed) == (4, ((0, 1),))


def test_detections_in_a_layer_of_the_users_own_become_objects(open_dock, stack, qtbot, messages):
    opened = open_dock(stack, scale=(2, 1, 1))
    own = opened.viewer.add_points([[0, 20, 18], [0, 44, 46], [3, 20, 21]], scale=(2, 1, 1))
    opened.viewer.layers.selection.active = own
    qtbot.mouseClick(opened.dock.prompts.one_each, LEFT)
    opened.wait_idle()
    assert [entry.object_id for entry in opened.session.objects] == [1, 2, 3]
    assert sizes(opened.labels(), 1)[0] == sizes(opened.labels(), 2)[0] == 197
    assert sizes(opened.labels(), 3) == [0, 0, 0, 197, 0, 0]
    assert len(own.data) == 3
    assert list(own.features) == []
    opened.controller.undo()
    assert opened.session.objects == ()
    assert len(opened.points.data) == 0
    assert not opened.labels().any()


def test_boxes_that_were_read_as_one_object_become_one_each(open_dock, stack, qtbot, messages):
    opened = open_dock(stack)
    boxes = [[[0, r, c], [0, r, c + 22], [0, r + 22, c + 22], [0, r + 22, c]] for r, c in
             ((9, 7), (33, 35))]  # fmt: skip
    own = opened.viewer.add_shapes(boxes, shape_type="rectangle", name="boxes")
    opened.controller.choose_shapes(own)
    opened.wait_idle()
    assert "has 2 boxes on one plane" in messages[-1][1]
    opened.viewer.layers.selection.active = own
    qtbot.mouseClick(opened.dock.prompts.one_each, LEFT)
    opened.wait_idle()
    assert sorted(np.unique(opened.labels()[0])) == [0, 2, 3]
    assert opened.workspace.prompts.shapes is opened.shapes
    assert opened.shapes.nshapes == len(own.data) == 2


def test_clicks_that_were_meant_for_several_objects_are_told_apart(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    assert sizes(opened.labels(), 1)[0] == 394
    opened.viewer.layers.selection.active = opened.points
    qtbot.mouseClick(opened.dock.prompts.one_each, LEFT)
    opened.wait_idle()
    assert [sizes(opened.labels(), number)[0] for number in (1, 2)] == [197, 197]


def test_one_each_without_anything_says_what_to_do(open_dock, stack, qtbot, messages):
    opened = open_dock(stack)
    qtbot.mouseClick(opened.dock.prompts.one_each, LEFT)
    assert messages[-1][1].startswith("Select a Points or a Shapes layer in which")


def test_only_what_is_selected_is_carried(clicked, qtbot, messages):
    opened = clicked
    qtbot.waitUntil(lambda: opened.dock.objects.selected == [2], timeout=2000)
    opened.dock.propagate.selected_only.setChecked(True)
    qtbot.mouseClick(opened.dock.propagate.run, LEFT)
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == [197] + [0] * 5
    assert sizes(opened.labels(), 2) == [197] * 6
    assert opened.session.log[-1].request.objects == (2,)
    opened.controller.objects.delete([2])
    opened.dock.objects.table.clearSelection()
    qtbot.mouseClick(opened.dock.propagate.run, LEFT)
    assert "None of the selected objects" in messages[-1][1]


def test_the_brush_has_the_label_of_the_active_object(two, table, qtbot):
    labels = two.viewer.layers["SAM 2 labels"]
    assert labels.selected_label == 2
    click(table, qtbot, 0)
    assert labels.selected_label == 1


def test_the_tools_draw_in_the_layer_that_they_need(open_dock, stack, qtbot):
    opened = open_dock(stack)
    tools = opened.dock.prompts.tools
    opened.viewer.layers.remove(opened.shapes)
    assert tools["point"].isChecked()
    for tool, mode in (("box", "add_rectangle"), ("outline", "add_polygon_lasso"),
                       ("scribble", "add_path")):  # fmt: skip
        qtbot.mouseClick(tools[tool], LEFT)
        active = opened.viewer.layers.selection.active
        assert (active.name, active.mode) == ("SAM 2 shapes", mode)
        assert [name for name, button in tools.items() if button.isChecked()] == [tool]
    qtbot.mouseClick(tools["point"], LEFT)
    assert opened.viewer.layers.selection.active is opened.points
    opened.points.mode = "pan_zoom"
    assert not any(button.isChecked() for button in tools.values())


def test_hints_lead_the_way(open_dock, stack, qtbot):
    opened = open_dock()
    hint = opened.dock.hint
    assert "drag a file into the window" in hint.text.text()
    qtbot.mouseClick(hint.sample, LEFT)
    qtbot.waitUntil(lambda: hint.text.text().startswith("Click on an object"), timeout=10000)
    assert opened.workspace.image.name == "nuclei"
    assert hint.sample.isHidden()
    opened.viewer.layers["SAM 2 points"].add([0, 20, 18])
    opened.wait_idle()
    qtbot.waitUntil(lambda: "through the other planes" in hint.text.text(), timeout=2000)
    opened.controller.plane.propagate()
    opened.wait_idle()
    qtbot.waitUntil(hint.isHidden, timeout=2000)


@pytest.mark.parametrize("chosen", [False, True])
def test_detections_become_objects_again_after_all_were_deleted(open_dock, stack, qtbot, chosen):
    opened = open_dock(stack)
    own = opened.viewer.add_points([[0, 20, 18], [0, 44, 46]])
    if chosen:  # as the layer that is read, it keeps what is deleted
        opened.controller.choose_points(own)
        opened.wait_idle()
        opened.controller.objects.delete([1])
    for _ in range(2):
        opened.viewer.layers.selection.active = own
        qtbot.mouseClick(opened.dock.prompts.one_each, LEFT)
        opened.wait_idle()
        numbers = [entry.object_id for entry in opened.session.objects]
        assert [sizes(opened.labels(), number)[0] for number in numbers] == [197, 197]
        opened.controller.objects.delete(numbers)
    assert opened.session.objects == ()


def test_a_click_where_a_deleted_object_was_painted_over_counts(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.viewer.layers["SAM 2 labels"].paint((0, 50, 10), 1)
    opened.controller.objects.delete([1])
    opened.controller.new_object()
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    (entry,) = opened.session.objects
    assert sizes(opened.labels(), entry.object_id)[0] == 197


def paint(opened, where, label):
    layer = opened.viewer.layers["SAM 2 labels"]
    layer.selected_label, layer.brush_size = label, 5
    layer.paint(where, label)
    opened.wait_idle()


def painted_prompts(opened, stack, key):
    return [type(prompt).__name__ for prompt in opened.session.prompts(stack)[key]]


def test_clicks_that_were_painted_over_stay_so_when_objects_are_merged(open_dock, stack):
    opened = open_dock(stack)
    opened.points.add([3, 20, 21])
    opened.wait_idle()
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    paint(opened, (0, 44, 46), 0)
    opened.controller.objects.merge([1, 2])
    opened.wait_idle()
    held = opened.workspace.geometry().key
    assert painted_prompts(opened, held, (1, 0)) == ["MaskPrompt"]
    opened.controller.undo()
    assert painted_prompts(opened, held, (2, 0)) == ["MaskPrompt"]


def test_clicks_that_were_painted_over_stay_so_when_an_object_is_split(open_dock, stack):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.viewer.dims.set_current_step(0, 4)
    opened.points.add([4, 20, 22])
    opened.wait_idle()
    paint(opened, (4, 20, 22), 0)
    opened.viewer.dims.set_current_step(0, 2)
    opened.controller.objects.split(1)
    opened.wait_idle()
    held = opened.workspace.geometry().key
    assert painted_prompts(opened, held, (2, 4)) == ["MaskPrompt"]
    assert painted_prompts(opened, held, (1, 0)) == ["PointPrompt"]


def test_a_hidden_object_that_is_painted_is_shown(open_dock, stack):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.objects.show(1, False)
    opened.wait_idle()
    paint(opened, (0, 50, 10), 1)
    assert opened.session.find_object(1).visible
    assert (opened.labels()[0] == 1).sum() == 197 + 21
    opened.controller.undo()
    opened.wait_idle()
    assert not opened.session.find_object(1).visible
    assert not opened.labels().any()
    for _ in range(2):
        opened.controller.undo()
        opened.wait_idle()
    assert opened.session.log == ()
    assert not opened.labels().any()


def test_points_of_another_image_and_negative_ones_are_no_objects(open_dock, stack, qtbot):
    opened = open_dock(stack, stack[:, ::-1])
    others = opened.points
    others.add([0, 43, 18])
    opened.wait_idle()
    opened.dock.image.image.chosen.emit(opened.viewer.layers["image"])
    mine = opened.viewer.add_points(
        [[0, 20, 18], [0, 44, 46], [0, 5, 5]],
        features={"sign": ["positive", "positive", "negative"]},
    )
    opened.viewer.layers.selection.active = mine
    qtbot.mouseClick(opened.dock.prompts.one_each, LEFT)
    opened.wait_idle()
    (key,) = (s for s in opened.session.stacks if s.image == opened.workspace.image_id)
    assert [number for number, _ in opened.session.prompts(key)] == [2, 3]
    before = others.features.copy()
    opened.viewer.layers.selection.active = others
    qtbot.mouseClick(opened.dock.prompts.one_each, LEFT)
    opened.wait_idle()
    assert others.features.equals(before)
    assert [number for number, _ in opened.session.prompts(key)] == [2, 3, 4]


@pytest.mark.parametrize("how", ["split", "one each"])
def test_a_new_object_is_no_part_of_another(open_dock, stack, qtbot, how):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.plane.propagate()
    opened.wait_idle()
    opened.controller.new_object()
    if how == "split":
        opened.viewer.dims.set_current_step(0, 3)
        opened.controller.objects.split(1)
        opened.viewer.dims.set_current_step(0, 0)
    else:
        opened.viewer.layers.selection.active = opened.viewer.add_points([[3, 44, 43]])
        opened.controller.objects.one_each()
    opened.wait_idle()
    opened.points.add([0, 44, 46])
    qtbot.wait(200)
    opened.wait_idle()
    assert len(opened.session.objects) == 3


def test_a_number_whose_stroke_was_undone_is_not_given_again_where_it_is_taken(
    open_dock, stack, qtbot
):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.new_object()
    opened.workspace.target.paint((0, 5, 50), 2)
    opened.wait_idle()
    opened.controller.undo()
    opened.wait_idle()
    cells = np.zeros((6, 64, 64), int)
    cells[0, 2:6, 2:6] = 2
    opened.controller.choose_target(opened.viewer.add_labels(cells))
    qtbot.waitUntil(lambda: opened.controller.prompting.active[0] == 3, timeout=2000)


def test_a_point_that_is_selected_in_a_layer_of_the_user_makes_its_object_active(open_dock, stack):
    opened = open_dock(stack)
    features = {"object": [1, 2], "sign": ["positive"] * 2}
    mine = opened.viewer.add_points([[0, 20, 18], [0, 44, 46]], features=features)
    opened.controller.choose_points(mine)
    opened.wait_idle()
    opened.controller.prompting.set_active(2, True)
    mine.selected_data = {0}
    assert opened.controller.prompting.active == (1, True)


@pytest.mark.parametrize("sign", ["positive", "+"])
def test_one_each_of_another_layer_leaves_the_masks_of_the_one_in_use(
    open_dock, stack, qtbot, messages, sign
):
    opened = open_dock(stack)
    mine = opened.viewer.add_points([[0, 20, 18]], features={"object": [1]})
    opened.controller.choose_points(mine)
    opened.wait_idle()
    more = opened.viewer.add_points([[0, 44, 46]], features={"object": [0], "sign": [sign]})
    opened.viewer.layers.selection.active = more
    qtbot.mouseClick(opened.dock.prompts.one_each, LEFT)
    opened.wait_idle()
    assert sizes(opened.labels(), 1)[0] == 197
    if sign == "positive":
        assert sizes(opened.labels(), 2)[0] == 197
    else:
        assert "“sign”" in messages[-1][1]
        assert opened.workspace.prompts.points is mine

"""What must be told, and must not lose anything."""

import threading

import dask.array as da
import numpy as np
import pytest
from napari.layers import Points, Shapes
from tests.plugin.conftest import sizes

from napari_sam2.session.pass_request import PassRequest
from napari_sam2.session.values import ModelChoice


def told(messages, *words):
    return any(all(word in message for word in words) for _, message in messages)


def spot(shape=(64, 64)):
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    return (rows - 20) ** 2 + (columns - 18) ** 2 <= 64


def test_no_image(open_dock, messages):
    opened = open_dock()
    opened.controller.plane.run()
    opened.controller.plane.propagate()
    opened.controller.new_object()
    opened.controller.toggle_sign()
    opened.controller.cancel()
    assert [severity for severity, _ in messages] == ["warning"] * 2
    assert told(messages, "There is no image layer")
    assert len(opened.viewer.layers) == 0


def test_no_prompt(open_dock, stack, messages):
    opened = open_dock(stack)
    opened.controller.plane.run()
    assert told(messages, "no prompt on this plane")
    opened.controller.plane.propagate()
    assert told(messages, "no prompt in this stack")
    assert "SAM 2 labels" not in opened.viewer.layers
    opened.points.add([3, 20, 21])
    opened.wait_idle()
    opened.controller.plane.run()
    assert [severity for severity, _ in messages] == ["warning"] * 3


def test_a_click_outside_is_told_once_and_the_others_work(open_dock, stack, messages):
    opened = open_dock(stack)
    opened.points.add([0, -5, 20])
    opened.wait_idle()
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    assert [severity for severity, _ in messages] == ["warning"]
    assert told(messages, "outside the plane of 64 x 64 pixels")
    assert (opened.labels()[0] == 1).sum() == 197


@pytest.mark.parametrize("image", [spot() * 200.0, (spot() * 200.0)[np.newaxis]])
def test_one_plane_has_nothing_to_propagate_to(open_dock, messages, image):
    opened = open_dock(image)
    opened.dock.prompts.auto_run.setChecked(False)
    opened.points.add([0] * (image.ndim - 2) + [20, 18])
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert told(messages, "one plane", "nothing to propagate to")
    np.testing.assert_array_equal(opened.labels().reshape(64, 64) == 1, spot())


def bad_pixels(dtype):
    image = spot().astype(dtype) * (np.dtype(dtype).type(1))
    image = np.where(spot(), image, 0).astype(dtype)
    if np.dtype(dtype).kind == "u":
        image *= 60_000 if dtype == "uint16" else 3_000_000_000
    if np.dtype(dtype).kind == "f":
        image[:4] = np.nan
        image[5, 5], image[6, 6] = np.inf, -np.inf
    return image


@pytest.mark.parametrize("dtype", ["bool", "uint16", "uint32", "float32", "float64"])
def test_data_types_and_values_that_are_not_finite(open_dock, engine, messages, dtype):
    plane = bad_pixels(dtype)
    image = np.stack([plane] * 3)
    opened = open_dock(image)
    if np.dtype(dtype).kind == "f":
        np.copyto(image, 0, where=~np.isfinite(image))  # the fake cannot tell a spot from infinity
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert messages == []
    np.testing.assert_array_equal(opened.labels() == 1, np.stack([spot()] * 3))
    limits = engine.limits[0]
    assert limits is None or (np.isfinite(limits).all() and limits[0] < limits[1])


def test_an_image_of_nothing_but_nan(open_dock, messages):
    opened = open_dock(np.full((3, 64, 64), np.nan))
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert messages == []
    assert opened.dock.footer.status.text() == "Done: 3 planes"


@pytest.mark.parametrize(
    ("dtype", "limits"),
    [("uint8", (0, 255)), ("uint16", (0, 65535)), ("float64", (0, 1))],
)
def test_rgb(open_dock, engine, messages, dtype, limits):
    white = np.stack([spot()] * 2)[..., np.newaxis] * np.ones(3)
    image = (white * (limits[1] * 0.8)).astype(dtype)
    opened = open_dock(image, rgb=True)
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert opened.labels().shape == (2, 64, 64)
    np.testing.assert_array_equal(opened.labels()[1] == 1, spot())
    assert engine.limits == [limits]
    assert messages == []


@pytest.mark.parametrize("name", ["image", "SAM 2 points", "SAM 2 shapes"])
def test_a_layer_deleted_while_propagating(propagating, engine, messages, name):
    opened = propagating()
    opened.viewer.layers.remove(name)
    engine.gate.release(20)
    opened.wait_idle()
    assert told(messages, "was deleted, so the run stops")
    assert [severity for severity, _ in messages] == ["warning"]
    found = [(plane == 1).sum() for plane in opened.labels()]
    assert found[:2] == [197] * 2
    assert found[-1] == 0
    assert opened.dock.footer.status.text().startswith("Stopped")


def test_the_labels_layer_deleted_while_propagating(propagating, engine, messages):
    opened = propagating()
    opened.viewer.layers.remove("SAM 2 labels")
    engine.gate.release(20)
    opened.wait_idle()
    assert told(messages, "The Labels layer with the results was deleted")
    (key,) = opened.session.stacks
    assert set(opened.session.frames(key)) >= {0, 1}
    assert len(opened.session.frames(key)) < 6
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    assert (opened.labels()[1] == 1).sum() == 197


def test_every_layer_deleted_while_propagating(propagating, engine, messages):
    opened = propagating()
    opened.viewer.layers.clear()
    engine.gate.release(20)
    opened.wait_idle()
    assert opened.workspace.image is None
    assert opened.dock.image.image.currentText() == "no image"
    opened.controller.plane.run()
    assert told(messages, "There is no image layer")


def test_layers_changed_while_propagating(propagating, qtbot, engine, messages):
    opened = propagating()
    viewer = opened.viewer
    viewer.dims.transpose()
    viewer.layers["SAM 2 labels"].visible = False
    viewer.layers["image"].name = "renamed"
    engine.gate.release()
    qtbot.wait(100)
    viewer.dims.roll()
    viewer.dims.ndisplay = 3
    viewer.layers["SAM 2 labels"].visible = True
    viewer.layers.move(0, 3)
    engine.gate.release(20)
    opened.wait_idle()
    assert [(plane == 1).sum() for plane in opened.labels()] == [197] * 6
    assert messages == []


def test_labels_that_no_longer_fit(propagating, engine, messages):
    opened = propagating()
    opened.viewer.layers["SAM 2 labels"].data = np.zeros((1, 64, 64), np.uint16)
    engine.gate.release(20)
    opened.wait_idle()
    assert told(messages, "does not take the results")
    assert [severity for severity, _ in messages] == ["error"]
    opened.controller.plane.propagate()
    opened.wait_idle()
    made = opened.viewer.layers["SAM 2 labels [1]"]
    assert [(plane == 1).sum() for plane in made.data] == [197] * 6


def test_masks_stay_when_their_points_layer_is_deleted(open_dock, stack, messages):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.viewer.layers.remove(opened.points)
    opened.shapes.add_rectangles([[0, 36, 36], [0, 36, 56], [0, 56, 56], [0, 56, 36]])
    opened.wait_idle()
    assert (opened.labels()[0] == 1).any()
    assert messages == []
    opened.controller.new_object()
    assert opened.viewer.layers.selection.active.name == "SAM 2 points"


def test_layers_of_the_user_that_do_not_fit(open_dock, stack, messages):
    opened = open_dock(stack)
    flat = opened.viewer.add_points([[20, 18]], name="flat")
    opened.dock.prompts.points.chosen.emit(flat)
    assert told(messages, "“flat” has 2 axes and the image 3")
    upright = Shapes([[[0, 1, 1], [3, 9, 9], [0, 1, 9]]], shape_type="polygon", name="upright")
    opened.viewer.add_layer(upright)
    opened.dock.prompts.shapes.chosen.emit(upright)
    assert told(messages, "(polygon) in the layer “upright” lies across several planes")


def test_more_objects_than_the_target_can_number(open_dock, stack, messages):
    opened = open_dock(stack)
    target = opened.viewer.add_labels(np.zeros(stack.shape, np.uint8), name="small")
    opened.dock.image.target.chosen.emit(target)
    opened.controller.prompting.set_active(256, True)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    assert told(messages, "Object 256", "“small”", "255")
    assert not target.data.any()


def test_a_range_that_runs_backwards(open_dock, stack, messages):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate(PassRequest("both", (4, 2)))
    assert told(messages, "starts at plane 4, after its end at plane 2")
    opened.points.data = [[5, 20, 23]]
    opened.controller.plane.propagate(PassRequest("forward", (0, 2)))
    assert told(messages, "no plane that lies forward of a prompt")


def test_objects_as_the_users_features_name_them(open_dock, stack):
    opened = open_dock(stack)
    detections = Points([[0, 20, 18], [0, 44, 46]], features={"object": [7, 3]}, name="detected")
    opened.viewer.add_layer(detections)
    opened.dock.prompts.points.chosen.emit(detections)
    opened.wait_idle()
    assert sorted(np.unique(opened.labels()[0])) == [0, 3, 7]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("This is no checkpoint."),
        OSError("There is no such file."),
        RuntimeError("out of memory"),
        KeyError("weights"),
    ],
)
def test_an_error_in_the_worker_is_told_and_nothing_is_lost(
    open_dock, stack, engine, messages, error
):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    real = engine._load_model

    def fail(choice):
        raise error

    engine._load_model = fail
    opened.dock.model.model_chosen.emit(ModelChoice("other.pt", "cpu"))
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert len(messages) == 1
    assert messages[0][0] == "error"
    assert str(error.args[0]) in messages[0][1]
    assert (opened.labels()[0] == 1).sum() == 197
    assert opened.dock.footer.status.text().startswith("Stopped by an error")
    engine._load_model = real
    opened.dock.model.model_chosen.emit(ModelChoice("nano", "auto"))
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert (opened.labels()[5] == 1).sum() == 197


def test_a_broken_plane_is_named_and_what_was_found_before_stays(open_dock, stack, messages):
    def plane(block, block_info=None):
        if block_info[0]["chunk-location"][0] == 3:
            raise RuntimeError("error during blosc decompression: -1")
        return block

    broken = da.from_array(stack, chunks=(1, -1, -1)).map_blocks(plane, meta=stack[:0])
    opened = open_dock(broken)
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate()
    opened.wait_idle()
    (kind, told_so) = messages[-1]
    assert kind == "error"
    assert told_so.startswith("Plane 3 of “image” cannot be read (RuntimeError: error during blosc")
    assert "copy or export the image again" in told_so
    assert [(plane == 1).sum() > 0 for plane in opened.labels()] == [True] * 3 + [False] * 3
    opened.viewer.dims.set_point(0, 1)
    opened.points.add([1, 44, 46])  # work goes on
    opened.wait_idle()
    assert opened.labels()[1].any()


def test_cancelled_while_the_model_is_loading(open_dock, stack, qtbot, engine, messages):
    opened = open_dock(stack)
    loading, go_on = threading.Event(), threading.Event()
    real = engine._load_model

    def slow(choice):
        loading.set()
        assert go_on.wait(5)
        return real(choice)

    engine._load_model = slow
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate()
    qtbot.waitUntil(loading.is_set, timeout=3000)
    qtbot.waitUntil(lambda: "Loading" in opened.dock.footer.status.text(), timeout=1000)
    opened.controller.cancel()
    opened.controller.cancel()
    go_on.set()
    opened.wait_idle()
    assert opened.dock.footer.status.text() == "Cancelled: 0 planes"
    assert not opened.labels().any()
    assert messages == []
    opened.controller.plane.run()
    opened.wait_idle()
    assert (opened.labels()[0] == 1).sum() == 197


def test_features_edited_into_nonsense(open_dock, stack, messages):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.points.features = {"object": ["cell"], "sign": ["perhaps"]}
    opened.wait_idle()
    assert told(messages, "'cell' in its feature “object”")
    messages.clear()
    opened.points.features = {"object": ["cell"], "sign": ["positive"]}
    opened.viewer.layers.selection.active = opened.points
    opened.controller.objects.one_each()
    assert told(messages, "'cell' in its feature “object”")
    opened.controller.new_object()
    assert opened.controller.prompting.active[0] >= 1
    opened.points.features = {"object": [5], "sign": ["positive"]}
    opened.wait_idle()
    assert (opened.labels()[0] == 5).sum() == 197


@pytest.mark.parametrize("part", [np.s_[:3], np.s_[:, :24, :24]])
def test_an_image_that_became_smaller(open_dock, stack, messages, part):
    opened = open_dock(stack)
    opened.points.add([0, 44, 46])
    opened.controller.plane.propagate()
    opened.wait_idle()
    opened.viewer.layers["image"].data = stack[part]
    opened.points.data = [[0, 20, 18]]
    for _ in range(2):
        opened.controller.plane.propagate()
        opened.wait_idle()
    made = opened.viewer.layers["SAM 2 labels [1]"]
    assert made.data.shape == stack[part].shape
    assert all((plane == 1).any() for plane in made.data)
    assert "SAM 2 labels [2]" not in opened.viewer.layers
    assert [severity for severity, _ in messages] == ["warning"]
    assert told(messages, "smaller than it was")


def test_a_second_box_leaves_the_mask_of_the_first(open_dock, stack, qtbot, messages):
    opened = open_dock(stack)
    opened.controller.use_tool("box")
    for row, column in ((12, 10), (36, 38)):
        opened.shapes.add(box(row, column), shape_type="rectangle")
        qtbot.wait(200)
        opened.wait_idle()
    assert sizes(opened.labels(), 1)[0] == 197
    assert "it can have one" in messages[-1][1]


def test_one_object_each_of_detections_of_which_one_is_nowhere(open_dock, stack, qtbot, messages):
    opened = open_dock(stack)
    found = opened.viewer.add_points(np.array([[0, 20, 18], [np.nan, 9, 9], [0, 44, 46]]))
    opened.viewer.layers.selection.active = found
    opened.controller.objects.one_each()
    opened.wait_idle()
    assert np.unique(opened.labels()[0]).tolist() == [0, 1, 2]
    assert len(opened.points.data) == 2


def test_an_image_of_many_axes_is_deleted_and_another_added(open_dock, stack, qtbot, messages):
    opened = open_dock(np.stack([np.stack([stack[:2]] * 2)] * 2))
    opened.viewer.layers.clear()
    qtbot.wait(50)
    assert opened.workspace.image is None
    image = opened.viewer.add_image(stack[0])
    qtbot.wait(50)
    assert opened.workspace.image is image
    assert messages == []


def box(row, column):
    return np.array([[0, row, column], [0, row, column + 16], [0, row + 16, column + 16],
                     [0, row + 16, column]])  # fmt: skip


def test_a_box_that_is_pasted_over_itself_leaves_its_mask(open_dock, stack, messages):
    opened = open_dock(stack)
    opened.shapes.add(np.array([box(12, 10)] * 2), shape_type="rectangle")
    opened.wait_idle()
    assert sizes(opened.labels(), 1)[0] == 197
    assert "The first one is used" in messages[-1][1]


def test_a_layer_of_the_user_whose_signs_are_no_text(open_dock, stack, qtbot):
    opened = open_dock(stack)
    features = {"object": [1, 2], "sign": [np.nan, np.nan]}
    mine = opened.viewer.add_points([[0, 20, 18], [0, 44, 46]], features=features)
    opened.controller.choose_points(mine)
    opened.controller.new_object()
    opened.controller.toggle_sign()
    opened.wait_idle()
    assert [entry.object_id for entry in opened.session.objects] == [1, 2]
    assert opened.controller.prompting.active == (3, False)


def test_a_box_that_was_held_when_prompts_were_taken_is_taken_in_the_end(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.viewer.layers.selection.active = opened.shapes
    opened.shapes.mode = "add_rectangle"
    opened.shapes._is_creating = True
    opened.shapes.add(box(12, 10), shape_type="rectangle")
    opened.shapes._moving_value = (0, 4)
    opened.controller.new_object()
    qtbot.wait(250)
    assert not opened.session.objects
    opened.shapes._finish_drawing()
    qtbot.wait(250)
    opened.wait_idle()
    assert sizes(opened.labels(), 1)[0] == 197
    opened.controller.undo()
    assert len(opened.shapes.data) == 0
    opened.viewer.layers.selection.active = opened.points
    opened.points.add([0, 44, 46])
    qtbot.wait(250)
    opened.wait_idle()
    assert [entry.object_id for entry in opened.session.objects] == [2]


@pytest.mark.parametrize("features", [{}, {"sign": ["positive", "positive"]}])
def test_a_layer_of_the_user_that_names_nothing_keeps_what_is_selected_in_it(
    open_dock, stack, features
):
    opened = open_dock(stack)
    mine = opened.viewer.add_points([[0, 20, 18], [0, 44, 46]], features=features)
    opened.controller.choose_points(mine)
    mine.selected_data = {1}
    if not features:
        opened.controller.toggle_sign()
    opened.controller.new_object()
    assert mine.selected_data == {1}


def test_a_point_that_names_no_object_is_of_the_first_as_is_the_next(open_dock, stack):
    opened = open_dock(stack)
    features = {"object": [2.0, np.nan]}
    mine = opened.viewer.add_points([[0, 20, 18], [0, 44, 46]], features=features)
    opened.controller.choose_points(mine)
    opened.controller.new_object()
    assert opened.controller.prompting.active[0] == 3
    mine.selected_data = {1}
    assert opened.controller.prompting.active[0] == 1

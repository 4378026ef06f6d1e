"""What was done in the window is repeated without one."""

import numpy as np
import tifffile
import zarr
from tests.plugin.conftest import discs as stack_of_discs
from tests.plugin.test_saving import folders
from tests.plugin.test_undo import settled
from typer.testing import CliRunner

from napari_sam2.cli import app
from napari_sam2.plugin.coordinates import part_in_view, stack_geometry
from napari_sam2.session.engine import Engine
from napari_sam2.session.log import Run
from napari_sam2.session.values import ModelChoice


def test_labels_of_the_window_are_those_of_the_replay(
    open_dock, discs, qtbot, tmp_path, sessions, messages
):
    image = discs[0][:5]
    opened = open_dock(image, engine=Engine())
    opened.dock.model.model_chosen.emit(ModelChoice("nano", "cpu"))
    controller, layer_name = opened.controller, "SAM 2 labels"

    def idle():
        qtbot.wait(50)
        opened.wait_idle(60_000)

    opened.viewer.dims.set_current_step(0, 1)
    opened.points.add([1, 31, 30])
    idle()
    controller.new_object()
    opened.shapes.add_rectangles([[1, 50, 55], [1, 50, 85], [1, 80, 85], [1, 80, 55]])
    idle()
    controller.plane.propagate()
    qtbot.waitUntil(lambda: opened.labels()[2].any(), timeout=60_000)
    controller.undo()
    idle()
    controller.plane.next_candidate()
    idle()
    layer = opened.viewer.layers[layer_name]
    layer.selected_label, layer.brush_size = 1, 9
    layer.paint((1, 45, 30), 1)
    controller.plane.propagate()
    idle()
    settled(opened, qtbot)
    labels = opened.labels().copy()
    assert 1 in labels[4]
    assert 2 in labels[1]
    opened.viewer.window.remove_dock_widget(opened.dock)
    (folder,) = folders(sessions)
    tifffile.imwrite(tmp_path / "discs.tif", image, photometric="minisblack")
    output = tmp_path / "labels.tif"
    done = CliRunner().invoke(
        app, ["replay", str(folder), str(tmp_path / "discs.tif"), "-o", str(output)]
    )
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(tifffile.imread(output), labels)
    assert messages == []


def test_channels_of_the_window_are_those_of_the_replay(
    open_dock, discs, qtbot, tmp_path, sessions, messages
):
    first, second = discs[0][:3], (discs[0][:3] / 7).astype(np.float32)
    opened = open_dock(first, second, engine=Engine())
    image, further = opened.viewer.layers[:2]
    image.colormap, further.colormap, further.gamma = "magenta", "viridis", 0.8
    opened.dock.model.model_chosen.emit(ModelChoice("nano", "cpu"))
    opened.dock.image.image.chosen.emit(image)
    opened.dock.image.channels.ticked.emit(further, True)
    opened.workspace.prompts.make("shapes")
    opened.workspace.prompts.shapes.add_rectangles(
        [[0, 50, 55], [0, 50, 85], [0, 80, 85], [0, 80, 55]]
    )
    opened.wait_idle(60_000)
    further.contrast_limits = (1, 30)
    opened.controller.plane.propagate()
    opened.wait_idle(60_000)
    settled(opened, qtbot)
    labels = opened.labels().copy()
    assert labels[2].any()
    opened.viewer.window.remove_dock_widget(opened.dock)
    (folder,) = folders(sessions)
    for name, data in (("first", first), ("second", second)):
        tifffile.imwrite(tmp_path / f"{name}.tif", data, photometric="minisblack")
    images = [str(tmp_path / f"{name}.tif") for name in ("first", "second")]
    output = tmp_path / "labels.tif"
    done = CliRunner().invoke(app, ["replay", str(folder), *images, "-o", str(output)])
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(tifffile.imread(output), labels)
    assert messages == []


def test_levels_of_a_pyramid_are_those_of_the_replay(
    open_dock, qtbot, tmp_path, sessions, messages
):
    rows, columns = np.mgrid[:400, :400]
    base = np.where(np.hypot(rows - 200, columns - 200) < 120, 200, 20).astype(np.uint8)
    coarser = base[::2, ::2].copy()
    coarser[110:] = 20  # so that it can be told from the base
    opened = open_dock([base[None], coarser[None]], multiscale=True, engine=Engine())
    opened.dock.model.model_chosen.emit(ModelChoice("nano", "cpu", image_size=128))
    opened.shapes.add_rectangles([[0, 78, 78], [0, 78, 322], [0, 322, 322], [0, 322, 78]])
    qtbot.wait(50)
    opened.wait_idle(60_000)
    settled(opened, qtbot)
    labels = opened.labels().copy()
    assert labels.any()
    opened.viewer.window.remove_dock_widget(opened.dock)
    (folder,) = folders(sessions)
    group = zarr.open_group(tmp_path / "pyramid.zarr", mode="w")
    for name, level in (("0", base), ("1", coarser)):
        group.create_array(name, data=level[None], dimension_names=("z", "y", "x"))
    zarr.save_array(tmp_path / "base.zarr", base[None])
    levels = [{"path": "0"}, {"path": "1"}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"datasets": levels}]}
    for name, same in (("pyramid.zarr", True), ("base.zarr", False)):
        output = tmp_path / "labels.tif"
        command = ["replay", str(folder), str(tmp_path / name), "-o", str(output)]
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
        assert np.array_equal(tifffile.imread(output), labels) == same
    assert messages == []


def test_the_part_in_view_is_what_the_model_sees(open_dock, qtbot, tmp_path, sessions, messages):
    plane = np.tile(np.pad(stack_of_discs(1)[0], 8), (5, 5))  # 400 x 400
    opened = open_dock(plane, engine=Engine())
    opened.dock.model.model_chosen.emit(ModelChoice("nano", "cpu", image_size=128))
    viewer, image = opened.viewer, opened.viewer.layers[0]

    def click(row, column):
        opened.controller.new_object()
        opened.points.add([row, column])
        qtbot.wait(50)
        opened.wait_idle(60_000)

    def views():
        return [each.view for each in opened.session.log if isinstance(each, Run)]

    def look(row, column, zoom):
        viewer.camera.center, viewer.camera.zoom = (0, row, column), zoom
        viewer.window._qt_viewer.canvas.on_draw(None)
        rows, columns = part_in_view(viewer.dims, image, stack_geometry(viewer.dims, image))
        return rows.start, columns.start, rows.stop - 1, columns.stop - 1

    click(28, 26)
    first = look(108, 106, 12)
    opened.dock.prompts.in_view.setChecked(True)
    click(108, 106)
    second = look(200, 200, 2)
    click(188, 186)
    assert views() == [None, first, second]
    assert first[2] - first[0] < 200 < second[2] - second[0]
    settled(opened, qtbot)
    labels = opened.labels().copy()
    assert set(np.unique(labels)) >= {1, 2, 3}
    opened.viewer.window.remove_dock_widget(opened.dock)
    (folder,) = folders(sessions)
    tifffile.imwrite(tmp_path / "plane.tif", plane)
    output = tmp_path / "labels.tif"
    done = CliRunner().invoke(
        app, ["replay", str(folder), str(tmp_path / "plane.tif"), "-o", str(output)]
    )
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(tifffile.imread(output), labels)
    assert messages == []

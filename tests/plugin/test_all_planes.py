"""Everything on all planes, in a real viewer."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import tifffile
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtCore import Qt
from scipy.ndimage import label
from tests.plugin.conftest import discs
from typer.testing import CliRunner

from napari_sam2.cli import app
from napari_sam2.inference import load
from napari_sam2.inference.automatic import memory_segmenter, over_time
from napari_sam2.inference.automatic.found_masks import Candidates, FoundMask
from napari_sam2.inference.automatic.mask_generator import MaskGenerator
from napari_sam2.inference.automatic.runs import RunMask
from napari_sam2.plugin.everything.result_layers import LABELS_NAME, STACK_NAME, TRACKS_NAME
from napari_sam2.plugin.widgets.segment_all_dock import SegmentAllWidget

LEFT = Qt.MouseButton.LeftButton
PATIENCE = 120_000  # ms, as machines may be busy


@pytest.fixture
def open_all(make_napari_viewer, qtbot, tiny_model, monkeypatch, messages):
    """Open a viewer with an image and the dock; gives both, and waits for the work at the end."""
    monkeypatch.setattr(load, "load_model", lambda *_, **__: tiny_model)
    docks = []

    def open_with(image, axes, **arguments):
        viewer = make_napari_viewer()
        viewer.add_image(image, name="image", **arguments)
        viewer.dims.axis_labels = tuple(axes)
        viewer.dims.current_step = (0,) * viewer.dims.ndim
        dock = SegmentAllWidget(PublicOnlyProxy(viewer))  # as napari does
        viewer.window.add_dock_widget(dock)
        dock.search.points.setValue(6)
        docks.append(dock)
        return viewer, dock

    yield open_with
    for dock in docks:
        dock.all_planes.cancel()
        qtbot.waitUntil(lambda dock=dock: not dock.all_planes.is_busy, timeout=PATIENCE)


@pytest.fixture
def blobs(monkeypatch):
    """Stands in for the model: what is bright is an object, and the brighter the better.

    Gives the semaphore that each plane waits for, which lets a hundred pass at first.
    """
    gate = threading.Semaphore(100)

    def generate(self, plane, contrast_limits):
        gate.acquire()
        found = []
        parts, count = label(plane > 50)
        for number in range(1, count + 1):
            score = 0.9 if plane[parts == number].max() == 200 else 0.85
            runs = RunMask.of(parts == number, plane.shape)
            found.append(FoundMask(runs, score, 0.99, (0, 0), (0, 0, 63, 63)))
        return Candidates(plane.shape, tuple(found), count, count, self.floors, self.usual)

    monkeypatch.setattr(MaskGenerator, "generate", generate)
    return gate


def close(gate):
    while gate.acquire(blocking=False):
        pass


def run(dock, qtbot):
    qtbot.mouseClick(dock.stack.run, LEFT)
    qtbot.waitUntil(lambda: not dock.all_planes.is_busy, timeout=PATIENCE)


def wait_for(planes, dock, qtbot):
    qtbot.waitUntil(lambda: dock.stack.progress.value() == planes, timeout=PATIENCE)


def dividing():
    """A disc that falls into two after three of six frames."""
    rows, columns = np.mgrid[:64, :64]
    film = np.zeros((6, 64, 64), np.uint8)
    for frame, plane in enumerate(film):
        for column, radius in ((32, 8),) if frame < 3 else ((25, 5), (39, 5)):
            plane[(rows - 32) ** 2 + (columns - column) ** 2 <= radius**2] = 200
    return film


@pytest.mark.parametrize(
    ("axes", "kind", "points", "shape", "parts"),
    [
        ("zyx", "z", 6, (64, 64), ""),
        ("zyx", "memory", 6, (64, 64), ""),
        ("tyx", "t", 6, (64, 64), ""),
        ("zyx", "z", 3, (130, 64), "in parts"),
    ],
)
def test_the_result_is_that_of_the_command_line(
    open_all, qtbot, tmp_path, axes, kind, points, shape, parts
):
    stack = np.tile(discs(3), (1, 3, 3))[:, : shape[0], : shape[1]]
    image, output = tmp_path / "image.tif", tmp_path / "labels.tif"
    tifffile.imwrite(image, stack, metadata={"axes": axes.upper()})
    viewer, dock = open_all(stack, axes)
    options = ["--points-per-side", points, "--min-score", 0.42, "--min-stability", 0]
    options += ["--max-overlap", 0.4, "--smallest", 5, "-o", output]
    if kind == "t":
        options += ["--tracks", tmp_path / "tracks.csv"]
    if kind == "memory":
        options += ["--link", "memory"]
    command = ["segment", str(image), "--everything", *map(str, options)]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    dock.search.points.setValue(points)
    dock.choice.score.setValue(0.42)
    dock.choice.stability.setValue(0)
    dock.choice.overlap.setValue(0.4)
    dock.choice.smallest.setValue(5)
    dock.stack.kind.setCurrentIndex(dock.stack.kind.findData(kind))
    run(dock, qtbot)
    labels = viewer.layers[STACK_NAME].data
    np.testing.assert_array_equal(labels, tifffile.imread(output))
    assert labels.any()
    assert parts in dock.stack.status.text()
    if axes == "tyx":
        rows = (tmp_path / "tracks.csv").read_text().splitlines()[1:]
        wanted = [[float(cell) for cell in row.split(",")[:4]] for row in rows]
        np.testing.assert_allclose(viewer.layers[TRACKS_NAME].data, wanted, rtol=1e-6)
    else:
        assert TRACKS_NAME not in viewer.layers


def choose_memory(dock):
    dock.stack.kind.setCurrentIndex(dock.stack.kind.findData("memory"))


def test_objects_that_are_carried_replace_what_was_found(open_all, qtbot, blobs, monkeypatch):
    close(blobs)
    viewer, dock = open_all(discs(7), "zyx")
    choose_memory(dock)
    assert dock.stack.run.text() == "Whole stack"
    assert "every third plane" in dock.stack.run.toolTip()
    shown = []
    dock.all_planes.carried.connect(shown.append)
    qtbot.mouseClick(dock.stack.run, LEFT)
    blobs.release(1)
    wait_for(2, dock, qtbot)  # the second plane is the first that is searched
    layer = viewer.layers[STACK_NAME]
    assert [bool(plane.any()) for plane in layer.data] == [False, True] + 5 * [False]
    blobs.release(6)
    qtbot.waitUntil(lambda: not dock.all_planes.is_busy, timeout=PATIENCE)
    assert blobs.acquire(blocking=False)  # not every plane was searched
    assert shown[0] < 1
    assert dock.stack.progress.format() == "%p % carried"
    count = layer.data.max()
    assert dock.stack.status.text() == f"{count} object{'' if count == 1 else 's'} on 7 planes."


def test_cancel_keeps_what_was_carried(open_all, qtbot, blobs, monkeypatch):
    viewer, dock = open_all(discs(9), "zyx")
    choose_memory(dock)
    gate, real = threading.Semaphore(0), memory_segmenter.VideoPredictor.propagate

    def gated(self, *arguments, **named):
        gate.acquire()
        yield next(real(self, *arguments, **named))  # its own plane alone, so that another follows

    monkeypatch.setattr(memory_segmenter.VideoPredictor, "propagate", gated)
    qtbot.mouseClick(dock.stack.run, LEFT)
    gate.release(2)
    shown = []
    dock.all_planes.carried.connect(shown.append)
    qtbot.waitUntil(lambda: bool(shown) and shown[-1] > 0, timeout=PATIENCE)
    qtbot.mouseClick(dock.stack.cancel, LEFT)
    gate.release()
    qtbot.waitUntil(lambda: not dock.all_planes.is_busy, timeout=PATIENCE)
    told = "Cancelled while objects were carried. What was found stays, but is not complete."
    assert dock.stack.status.text() == told
    assert viewer.layers[STACK_NAME].editable


def test_memory_refuses_planes_in_parts(open_all, qtbot, messages):
    _, dock = open_all(np.tile(discs(3), (1, 3, 1)), "zyx")
    choose_memory(dock)
    run(dock, qtbot)
    assert "Link by overlap, or crop the image." in messages[-1][1]
    messages.clear()
    assert dock.stack.status.text() == "Stopped by an error before the first plane was done."


def test_planes_appear_one_by_one_and_are_joined_at_the_end(open_all, qtbot, blobs):
    close(blobs)
    stack = discs(4)
    stack[0, :32] = 0  # what is first there is second on the other planes
    viewer, dock = open_all(stack, "zyx", scale=(2, 0.5, 0.5), translate=(0, 5, 0))
    active = viewer.layers.selection.active
    assert dock.stack.run.text() == "Whole stack"
    qtbot.mouseClick(dock.stack.run, LEFT)
    assert not dock.stack.run.isEnabled()
    assert not dock.search.search.isEnabled()
    blobs.release(2)
    wait_for(2, dock, qtbot)
    layer = viewer.layers[STACK_NAME]
    assert [plane[44, 44] for plane in layer.data] == [1, 2, 0, 0]
    assert "left" in dock.stack.status.text()
    assert not layer.editable
    blobs.release(2)
    qtbot.waitUntil(lambda: not dock.all_planes.is_busy, timeout=PATIENCE)
    assert dock.stack.status.text() == "2 objects on 4 planes."
    assert [plane[44, 44] for plane in layer.data] == [1, 1, 1, 1]
    assert [plane[20, 20] for plane in layer.data] == [0, 2, 2, 2]
    assert layer.editable
    assert layer.data.dtype == np.uint32  # so that there is a number for each object
    assert tuple(layer.scale) == (2, 0.5, 0.5)
    assert tuple(layer.translate) == (0, 5, 0)
    assert viewer.layers.selection.active is active
    assert dock.stack.run.isEnabled()
    assert dock.search.search.isEnabled()
    assert dock.stack.progress.value() == dock.stack.progress.maximum() == 4


def test_a_time_lapse_has_tracks_that_divide(open_all, qtbot, blobs):
    viewer, dock = open_all(dividing(), "tyx", scale=(1, 0.5, 0.5), translate=(0, 3, 4))
    assert dock.stack.run.text() == "Whole time-lapse"
    run(dock, qtbot)
    tracks = viewer.layers[TRACKS_NAME]
    assert {daughter: list(of) for daughter, of in tracks.graph.items()} == {2: [1], 3: [1]}
    assert tuple(tracks.scale) == (1, 0.5, 0.5)
    assert tuple(tracks.translate) == (0, 3, 4)
    labels = viewer.layers[STACK_NAME].data
    assert [sorted(np.unique(plane)) for plane in labels] == [[0, 1]] * 3 + [[0, 2, 3]] * 3
    for number, frame, row, column in tracks.data:
        assert labels[int(frame), round(row), round(column)] == number
    assert dock.stack.status.text() == "3 tracks, 1 division."


def test_what_objects_do_is_the_users_choice(open_all, qtbot, blobs):
    viewer, dock = open_all(dividing(), "tyx")
    dock.stack.kind.setCurrentIndex(dock.stack.kind.findData("z"))
    assert dock.stack.run.text() == "Whole stack"
    viewer.add_points(name="another layer")
    qtbot.wait(50)
    assert dock.stack.kind.currentData() == "z"
    run(dock, qtbot)
    assert TRACKS_NAME not in viewer.layers


def test_thresholds_are_those_of_the_dock(open_all, qtbot, blobs):
    stack = discs(4)
    stack[:, 32:][stack[:, 32:] > 0] = 100
    viewer, dock = open_all(stack, "zyx")
    run(dock, qtbot)
    assert dock.choice.score.value() == 0.8  # what is usual of the model
    both = viewer.layers[STACK_NAME]
    dock.choice.score.setValue(0.87)
    run(dock, qtbot)
    stricter = viewer.layers[-1]
    assert stricter is not both  # nothing of an earlier run is lost
    assert (both.data > 0).sum() == 2 * (stricter.data > 0).sum()
    assert not stricter.data[:, 32:].any()
    assert (both.visible, stricter.visible) == (False, True)


def test_the_labels_of_a_plane_give_way_to_those_of_the_stack(open_all, qtbot, blobs):
    viewer, dock = open_all(discs(3), "zyx")
    viewer.add_labels(np.ones((3, 64, 64), int), name="the user's")
    before = viewer.layers["the user's"].data.copy()
    for button in (dock.search.search, dock.stack.run, dock.search.search):
        qtbot.mouseClick(button, LEFT)
        qtbot.waitUntil(
            lambda: not (dock.segmentation.is_busy or dock.all_planes.is_busy), timeout=PATIENCE
        )
        shown = [layer.name for layer in viewer.layers if layer.visible]
        wanted = STACK_NAME if button is dock.stack.run else LABELS_NAME
        assert sorted(shown) == sorted(["image", "the user's", wanted])
    np.testing.assert_array_equal(viewer.layers["the user's"].data, before)


def test_cancel_keeps_what_was_found(open_all, qtbot, blobs):
    close(blobs)
    viewer, dock = open_all(discs(6), "zyx")
    qtbot.mouseClick(dock.stack.run, LEFT)
    blobs.release(2)
    wait_for(2, dock, qtbot)
    qtbot.mouseClick(dock.stack.cancel, LEFT)
    assert dock.stack.status.text() == "Stopping after this plane…"
    blobs.release(1)
    qtbot.waitUntil(lambda: not dock.all_planes.is_busy, timeout=PATIENCE)
    assert not blobs.acquire(blocking=False)
    layer = viewer.layers[STACK_NAME]
    assert [bool(plane.any()) for plane in layer.data] == [True] * 3 + [False] * 3
    assert dock.stack.status.text().startswith("Cancelled after 3 of 6 planes. What was found")
    assert "not joined" in dock.stack.status.text()
    assert layer.editable
    assert dock.stack.run.isEnabled()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("image", "Stopped, as the image was deleted, after 1 of 6 planes. What was found stays"),
        (STACK_NAME, "Stopped, as the labels were deleted."),
    ],
    ids=["image", "labels"],
)
def test_a_layer_deleted_meanwhile_ends_the_run(open_all, qtbot, blobs, messages, name, told):
    close(blobs)
    viewer, dock = open_all(discs(6), "zyx")
    qtbot.mouseClick(dock.stack.run, LEFT)
    blobs.release(1)
    wait_for(1, dock, qtbot)
    del viewer.layers[name]
    blobs.release(1)  # the plane that was under way
    qtbot.waitUntil(lambda: not dock.all_planes.is_busy, timeout=PATIENCE)
    assert dock.stack.status.text().startswith(told)
    assert (STACK_NAME in viewer.layers) == (name == "image")
    assert messages == []


def test_layers_renamed_and_hidden_meanwhile_break_nothing(open_all, qtbot, blobs, messages):
    close(blobs)
    viewer, dock = open_all(discs(4), "zyx")
    qtbot.mouseClick(dock.stack.run, LEFT)
    blobs.release(1)
    wait_for(1, dock, qtbot)
    layer = viewer.layers[STACK_NAME]
    layer.name, layer.visible = "mine", False
    viewer.layers["image"].name = "another name"
    viewer.dims.ndisplay = 3
    blobs.release(3)
    qtbot.waitUntil(lambda: not dock.all_planes.is_busy, timeout=PATIENCE)
    assert dock.stack.status.text() == "2 objects on 4 planes."
    assert all(plane.any() for plane in layer.data)
    assert not layer.visible
    assert messages == []


@pytest.mark.parametrize(
    ("image", "axes", "why"),
    [(discs()[0], "yx", "one plane: Segment all"), (discs(1), "zyx", "one plane along z")],
)
def test_one_plane_is_no_stack(open_all, qtbot, image, axes, why):
    viewer, dock = open_all(image, axes)
    assert not dock.stack.run.isEnabled()
    assert why in dock.stack.run.toolTip()
    viewer.add_image(discs(3), name="a stack")
    dock.search.image.setCurrentIndex(dock.search.image.findText("a stack"))
    qtbot.waitUntil(dock.stack.run.isEnabled)
    assert why not in dock.stack.run.toolTip()
    viewer.layers.clear()
    qtbot.waitUntil(lambda: not dock.stack.run.isEnabled())
    assert dock.stack.run.toolTip() == "There is no image."


def test_other_axes_stay_where_their_slider_is(open_all, qtbot, blobs):
    image = np.stack([discs(3), discs(3)[:, ::-1], discs(3)])
    viewer, dock = open_all(image, "tzyx")
    assert (dock.stack.axis.currentText(), dock.stack.kind.currentData()) == ("z", "z")
    for time in (1, 2):
        viewer.dims.set_current_step(0, time)
        run(dock, qtbot)
    assert len(viewer.layers) == 2  # all times are in one layer
    labels = viewer.layers[STACK_NAME].data
    assert not labels[0].any()
    np.testing.assert_array_equal(labels[1:] > 0, image[1:] > 0)
    run(dock, qtbot)  # again at the same time
    assert len(viewer.layers) == 3


def test_frames_along_another_axis_than_the_last(open_all, qtbot, blobs):
    image = np.repeat(dividing()[:, None], 2, axis=1)
    viewer, dock = open_all(image, "tzyx", scale=(1, 2, 0.5, 0.5))
    viewer.dims.set_current_step(1, 1)
    dock.stack.axis.setCurrentIndex(dock.stack.axis.findText("t"))
    dock.stack.axis.activated.emit(dock.stack.axis.currentIndex())
    assert dock.stack.kind.currentData() == "t"
    run(dock, qtbot)
    labels, tracks = viewer.layers[STACK_NAME].data, viewer.layers[TRACKS_NAME]
    assert not labels[:, 0].any()
    assert sorted(np.unique(labels[5, 1])) == [0, 2, 3]
    assert (tracks.data[:, 2] == 1).all()  # z
    assert tuple(tracks.scale) == (1, 2, 0.5, 0.5)


def test_axes_before_time_are_left_out_of_tracks(open_all, qtbot, blobs):
    image = np.repeat(dividing()[None], 2, axis=0)
    viewer, dock = open_all(image, "ctyx", scale=(1, 1, 0.5, 0.5), translate=(0, 0, 3, 4))
    run(dock, qtbot)
    tracks = viewer.layers[TRACKS_NAME]
    assert tracks.data.shape[1] == 4
    assert tuple(tracks.scale) == (1, 0.5, 0.5)
    assert tuple(tracks.translate) == (0, 3, 4)


def test_an_error_is_told_and_what_was_found_stays(open_all, qtbot, monkeypatch, messages, blobs):
    viewer, dock = open_all(discs(4), "zyx")
    generate, asked = MaskGenerator.generate, []

    def fail(self, plane, limits):
        asked.append(plane)
        if len(asked) == 3:
            raise OSError("the disk is gone")
        return generate(self, plane, limits)

    monkeypatch.setattr(MaskGenerator, "generate", fail)
    run(dock, qtbot)
    assert messages == [("error", "the disk is gone")]
    assert dock.stack.status.text().startswith("Stopped by an error after 2 of 4 planes.")
    labels = viewer.layers[STACK_NAME].data
    assert [bool(plane.any()) for plane in labels] == [True, True, False, False]
    assert dock.stack.run.isEnabled()


def test_without_a_model_no_layer_is_made(open_all, qtbot, monkeypatch, messages):
    viewer, dock = open_all(discs(3), "zyx")

    def refuse(*_):
        raise ValueError("there is no such model")

    monkeypatch.setattr(load, "load_model", refuse)
    run(dock, qtbot)
    assert messages == [("error", "there is no such model")]
    assert dock.stack.status.text() == "Stopped by an error before the first plane was done."
    assert len(viewer.layers) == 1


def test_without_laptrack_the_command_that_installs_it_is_named(
    open_all, qtbot, monkeypatch, messages
):
    viewer, dock = open_all(dividing(), "tyx")
    monkeypatch.setattr(over_time, "find_spec", lambda _: None)
    run(dock, qtbot)
    assert len(messages) == 1
    assert "pip install 'napari-sam2[tracking]'" in messages[0][1]
    assert len(viewer.layers) == 1


def test_a_closed_dock_lets_go_of_its_layer(open_all, qtbot, blobs):
    close(blobs)
    viewer, dock = open_all(discs(6), "zyx")
    qtbot.mouseClick(dock.stack.run, LEFT)
    blobs.release(1)
    wait_for(1, dock, qtbot)
    layer = viewer.layers[STACK_NAME]
    viewer.window.remove_dock_widget(dock)
    blobs.release(100)
    qtbot.waitUntil(lambda: not dock.all_planes.is_busy, timeout=PATIENCE)
    assert layer.editable
    viewer.dims.axis_labels = ("t", "y", "x")
    assert dock.stack.kind.currentData() == "z"

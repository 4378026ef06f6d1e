"""Work as a person does it: clicks on the canvas and keys, in a window that is shown."""

import threading
from types import SimpleNamespace

import dask.array
import numpy as np
import psutil
import pytest
import zarr
from qtpy.QtCore import Qt
from tests.plugin.conftest import sizes
from tests.plugin.test_dock import click, press

from napari_sam2.plugin import keys

PLACES = (20, 20), (44, 44)  # in either disc on every plane


def go_to(opened, qtbot, frame):
    opened.viewer.dims.set_current_step(0, frame)
    qtbot.wait(50)


@pytest.fixture
def stopped(open_dock, stack, qtbot, engine):
    """A click on the first plane, and a pass of which two planes of six are done."""
    engine.gate = threading.Semaphore(0)
    opened = open_dock(stack, show=True)
    click(opened, qtbot, 20, 18)
    opened.wait_idle()
    press(opened, qtbot, keys.PROPAGATE)
    engine.gate.release(2)
    qtbot.waitUntil(lambda: sizes(opened.labels(), 1)[1] == 197, timeout=3000)
    return opened


def test_cancel_correct_and_propagate_again(stopped, qtbot, engine):
    assert stopped.controller.runs.is_busy
    press(stopped, qtbot, keys.CANCEL)
    assert stopped.dock.footer.status.text() == "Stopping…"
    engine.gate.release()  # the plane that was in work
    stopped.wait_idle()
    assert stopped.dock.footer.status.text() == "Cancelled: 3 planes"
    assert sizes(stopped.labels(), 1) == [197] * 3 + [0] * 3
    # a click on the last of these planes: from there on it is the other disc
    go_to(stopped, qtbot, 2)
    click(stopped, qtbot, 44, 44)
    stopped.wait_idle()
    first, second = ([stopped.labels()[frame][place] for frame in range(6)] for place in PLACES)
    assert (first, second) == ([1, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0])
    press(stopped, qtbot, keys.PROPAGATE)
    engine.gate.release(20)
    stopped.wait_idle()
    first, second = ([stopped.labels()[frame][place] for frame in range(6)] for place in PLACES)
    assert (first, second) == ([1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1])
    assert stopped.dock.footer.status.text().startswith("Done")
    for _ in range(2):
        press(stopped, qtbot, keys.UNDO)
        stopped.wait_idle()
    assert sizes(stopped.labels(), 1) == [197] * 3 + [0] * 3


def test_cancel_without_a_run_does_nothing(open_dock, stack, qtbot, messages):
    opened = open_dock(stack, show=True)
    press(opened, qtbot, keys.CANCEL)
    click(opened, qtbot, 20, 18)
    opened.wait_idle()
    press(opened, qtbot, keys.CANCEL)
    assert sizes(opened.labels(), 1)[0] == 197
    assert messages == []


def test_the_key_runs_the_plane_in_view(open_dock, stack, qtbot, messages):
    opened = open_dock(stack, show=True)
    qtbot.mouseClick(opened.dock.prompts.auto_run, Qt.MouseButton.LeftButton)
    assert not opened.dock.prompts.auto_run.isChecked()
    go_to(opened, qtbot, 3)
    click(opened, qtbot, 20, 21)
    qtbot.wait(300)
    assert "SAM 2 labels" not in opened.viewer.layers
    press(opened, qtbot, keys.RUN_PLANE)
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == [0, 0, 0, 197, 0, 0]
    assert messages == []
    go_to(opened, qtbot, 4)
    press(opened, qtbot, keys.RUN_PLANE)
    assert "There is no prompt on this plane" in messages[0][1]


@pytest.mark.parametrize("name", ["image", "SAM 2 points", "SAM 2 labels"])
def test_a_layer_deleted_while_a_pass_runs(stopped, stack, qtbot, engine, messages, name):
    layer = stopped.viewer.layers[name]
    stopped.viewer.layers.selection.active = layer
    before = sizes(stopped.labels(), 1)
    # napari's own button below the list of layers
    buttons = stopped.viewer.window._qt_viewer.layerButtons
    qtbot.mouseClick(buttons.deleteButton, Qt.MouseButton.LeftButton)
    assert layer not in stopped.viewer.layers
    engine.gate.release(20)
    qtbot.waitUntil(lambda: not stopped.controller.is_busy, timeout=5000)
    (told,) = messages
    assert "was deleted, so the run stops. What was found is kept." in told[1]
    (key,) = stopped.session.stacks
    assert [n for n in before if n] == [197] * 2
    assert stopped.session.frames(key)[:2] == (0, 1)
    # and work goes on
    if name == "image":
        stopped.viewer.add_image(stack, name="again")
        qtbot.waitUntil(lambda: stopped.workspace.image is not None, timeout=1000)
        assert stopped.workspace.prompts.points is not None
    go_to(stopped, qtbot, 5)
    if name == "SAM 2 points":
        press(stopped, qtbot, keys.NEW_OBJECT)
    elif name == "SAM 2 labels":
        stopped.viewer.layers.selection.active = stopped.points
    click(stopped, qtbot, 44, 41)
    stopped.wait_idle()
    assert (np.asarray(stopped.workspace.target.data)[5] > 0).sum() >= 197


def test_labels_that_are_kept_on_disk(open_dock, stack, qtbot, messages, monkeypatch):
    opened, memory = open_dock(stack, show=True), SimpleNamespace(available=1)
    with monkeypatch.context() as patch:
        patch.setattr(psutil, "virtual_memory", lambda: memory)
        click(opened, qtbot, 20, 18)
        opened.wait_idle()
    assert isinstance(opened.workspace.target.data, zarr.Array)
    press(opened, qtbot, keys.PROPAGATE)
    qtbot.waitUntil(lambda: opened.controller.runs.is_busy, timeout=1000)
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == [197] * 6
    opened.workspace.target.paint((0, 5, 50), 1)
    opened.wait_idle()
    assert sizes(opened.labels(), 1)[0] > 197
    for _ in range(2):
        press(opened, qtbot, keys.UNDO)
        opened.wait_idle()
    assert sizes(opened.labels(), 1) == [197] + [0] * 5
    assert [severity for severity, _ in messages] == ["info"]


def lone_zarr(stack, folder):
    array = zarr.open_array(folder / "a.zarr", mode="w", shape=stack.shape, dtype=stack.dtype,
                            chunks=(1, 32, 32))  # fmt: skip
    array[:] = stack
    return array


KINDS = {
    "zarr": lambda stack, folder: lone_zarr(stack, folder),
    "pyramid": lambda stack, folder: [stack, stack[:, ::2, ::2]],
    "dask pyramid of zarr": lambda stack, folder: [
        dask.array.from_zarr(lone_zarr(stack, folder)),
        dask.array.from_array(stack[:, ::2, ::2]),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_images_that_are_no_arrays_in_memory(open_dock, stack, qtbot, tmp_path, kind, messages):
    data = KINDS[kind](stack, tmp_path)
    arguments = {"multiscale": True} if isinstance(data, list) else {}
    opened = open_dock(data, show=True, **arguments)
    click(opened, qtbot, 20, 18)
    opened.wait_idle()
    press(opened, qtbot, keys.NEW_OBJECT)
    click(opened, qtbot, 44, 46)
    opened.wait_idle()
    expected = stack[0] > 0
    left = np.arange(64) < 32
    np.testing.assert_array_equal(opened.labels()[0] == 1, expected & left)
    np.testing.assert_array_equal(opened.labels()[0] == 2, expected & ~left)
    press(opened, qtbot, keys.PROPAGATE)
    qtbot.waitUntil(lambda: opened.controller.runs.is_busy, timeout=1000)
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == sizes(opened.labels(), 2) == [197] * 6
    press(opened, qtbot, keys.UNDO)
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == [197] + [0] * 5
    assert messages == []

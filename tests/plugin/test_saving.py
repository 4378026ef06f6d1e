"""Sessions that are saved while working, offered again, and opened."""

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from napari.layers._source import Source
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFileDialog
from tests.plugin.conftest import FakeEngine, sizes
from tests.plugin.test_undo import held, settled

from napari_sam2.inference.prompts import MaskPrompt, PointPrompt
from napari_sam2.session.folder import SessionError, read_session
from napari_sam2.session.log import Paint, Reopen, Run
from napari_sam2.session.masks import plane_mask
from napari_sam2.session.session import Session


def folders(sessions):
    return [path.parent for path in sessions.glob("*/*/session.json")]


def saved(sessions, qtbot, commands=1):
    """The session that was saved by itself, once it has so many commands."""

    def is_there():
        try:
            return any(len(read_session(path).log) >= commands for path in folders(sessions))
        except SessionError:
            return False  # read in the middle of a write

    qtbot.waitUntil(is_there, timeout=5000)
    (path,) = folders(sessions)
    return path


def until_identified(opened, qtbot):
    """Wait until all images are known by their pixels, and earlier sessions are looked for."""
    known = opened.controller._identities.known
    qtbot.waitUntil(lambda: all(each.sha256 for each in known.values()), timeout=5000)
    qtbot.waitUntil(lambda: not opened.controller._jobs._running, timeout=5000)


@pytest.fixture
def killed(open_dock, stack, qtbot, sessions):
    """Work, and a copy of what a kill would leave; gives the labels and prompts that were."""
    opened = open_dock(stack)
    opened.viewer.dims.set_current_step(0, 2)
    opened.points.add([2, 20, 20])
    opened.wait_idle()
    opened.controller.new_object()
    opened.shapes.add_rectangles([[2, 34, 34], [2, 34, 54], [2, 54, 54], [2, 54, 34]])
    opened.wait_idle()
    opened.shapes.add_paths([[2, 44, 41], [2, 44, 47]])
    opened.wait_idle()
    opened.controller.plane.propagate()
    opened.wait_idle()
    layer = opened.viewer.layers["SAM 2 labels"]
    layer.selected_label = 2
    layer.paint((3, 5, 50), 2)
    opened.controller.undo()
    opened.controller.redo()
    path = saved(sessions, qtbot, len(opened.session.log))
    copy = path.with_name("copy")
    shutil.copytree(path, copy)
    labels, prompts = opened.labels().copy(), held(opened)
    opened.viewer.window.remove_dock_widget(opened.dock)
    shutil.rmtree(path)
    return labels, prompts, copy


def test_work_is_saved_by_itself_and_with_the_dock(open_dock, stack, qtbot, sessions):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    path = saved(sessions, qtbot, 2)
    opened.points.add([0, 21, 18])
    opened.wait_idle()
    opened.viewer.window.remove_dock_widget(opened.dock)
    assert read_session(path).log[-1].results == 1
    assert len(read_session(path).log) == 4


@pytest.mark.parametrize("order", [1, -1])
def test_prompts_that_go_with_their_image_are_kept(open_dock, stack, qtbot, sessions, order):
    """As when napari closes: it takes all layers away first."""
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.shapes.add_polygons([[0, 38, 40], [0, 38, 52], [0, 52, 52]])
    opened.wait_idle()
    path, prompts = saved(sessions, qtbot, 2), held(opened)
    (stack_key,) = opened.session.stacks
    for layer in list(opened.viewer.layers)[::order]:
        opened.viewer.layers.remove(layer)
    qtbot.wait(50)
    assert opened.session.prompts(stack_key) == prompts
    commands = len(read_session(path).log)
    opened.viewer.window.remove_dock_widget(opened.dock)
    assert len(read_session(path).log) == commands


def test_the_size_of_a_pixel_is_saved(open_dock, stack, qtbot, sessions):
    opened = open_dock(
        stack, scale=(2, 0.5, 0.5), units=("um", "um", "um"), axis_labels=("z", "y", "x")
    )
    opened.points.add([0, 10, 9])
    opened.wait_idle()
    image = read_session(saved(sessions, qtbot)).image
    assert (image.axes, image.scale, image.units) == ("zyx", (2, 0.5, 0.5), ("micrometer",) * 3)


def test_an_axis_that_was_said_to_be_time_still_is(open_dock, stack, qtbot, sessions, tmp_path):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    path = saved(sessions, qtbot)
    opened.workspace.say_time(True)
    qtbot.waitUntil(lambda: read_session(path).image.axes == "tyx", timeout=5000)
    shutil.copytree(path, tmp_path / "copy")
    again = open_dock(stack)
    again.controller.files.open(str(tmp_path / "copy"))
    qtbot.waitUntil(lambda: bool(again.session.stacks), timeout=5000)
    assert again.dock.image.kind.currentText() == "is time"
    assert not again.dock.propagate.stop_when_absent.isChecked()


def test_time_that_was_named_at_its_slider_is_saved(open_dock, stack, qtbot, sessions):
    opened = open_dock(np.stack([stack] * 2, axis=1))
    opened.viewer.dims.axis_labels = ("z", "t", "y", "x")
    opened.points.add([0, 0, 20, 18])
    opened.wait_idle()
    assert read_session(saved(sessions, qtbot)).image.axes == "ztyx"


def test_other_pixels_have_a_session_of_their_own(open_dock, stack, qtbot, sessions):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    first = saved(sessions, qtbot, 2)
    opened.viewer.layers["image"].data = np.concatenate([stack, stack])  # a film that goes on
    opened.points.add([8, 20, 18])
    opened.wait_idle()
    qtbot.waitUntil(lambda: len(folders(sessions)) == 2, timeout=5000)
    opened.viewer.window.remove_dock_widget(opened.dock)
    lengths = {}
    for path in folders(sessions):
        session = read_session(path)
        lengths[session.image.shape[0]] = [len(session.log), path == first]
    assert lengths == {6: [2, True], 12: [3, False]}
    again = open_dock(np.concatenate([stack, stack]), show=True)
    qtbot.waitUntil(lambda: again.dock.offer.isVisible(), timeout=5000)


def test_what_was_found_outside_an_image_that_became_smaller_is_kept_and_exported(
    open_dock, stack, qtbot, sessions, tmp_path
):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate()
    opened.wait_idle()
    path = saved(sessions, qtbot, 2)
    opened.viewer.layers["image"].data = stack[:3]
    opened.points.add([1, 20, 19])
    opened.wait_idle()
    opened.controller.files.export("tiff", str(tmp_path / "labels.tif"))
    qtbot.waitUntil((tmp_path / "labels.tif").exists, timeout=5000)
    found = tifffile.imread(tmp_path / "labels.tif")
    assert found.shape == stack.shape
    assert found.any(axis=(1, 2)).all()
    opened.viewer.window.remove_dock_widget(opened.dock)
    assert folders(sessions) == [path]
    assert read_session(path).image.shape == stack.shape
    assert len(read_session(path).log) == 3


def test_what_was_all_undone_is_not_kept(open_dock, stack, qtbot, sessions):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    saved(sessions, qtbot, 2)
    opened.controller.undo()
    opened.viewer.window.remove_dock_widget(opened.dock)
    assert folders(sessions) == []


def test_a_killed_session_is_restored(open_dock, stack, qtbot, killed, messages):
    labels, prompts, _ = killed
    opened = open_dock(stack, show=True)
    offer = opened.dock.offer
    qtbot.waitUntil(offer.isVisible, timeout=5000)
    assert "You worked on this image" in offer.question.text()
    qtbot.mouseClick(offer.restore, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(opened.session.stacks), timeout=5000)
    settled(opened, qtbot)
    assert not offer.isVisible()
    np.testing.assert_array_equal(opened.labels(), labels)
    assert held(opened) == prompts
    assert opened.session.log[-1] == Reopen()
    assert isinstance(prompts[2, 3][0], MaskPrompt)
    assert opened.points.features["object"].tolist() == [1]
    assert list(opened.shapes.shape_type) == ["rectangle", "path"]
    assert opened.controller.prompting.active == (2, True)
    # and it goes on
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert sizes(opened.labels(), 1) == sizes(labels, 1)
    opened.controller.undo()
    opened.controller.undo()
    settled(opened, qtbot)
    assert not opened.labels().any()
    assert len(opened.points.data) == len(opened.shapes.data) == 0
    opened.controller.redo()
    settled(opened, qtbot)
    np.testing.assert_array_equal(opened.labels(), labels)
    assert held(opened) == prompts
    assert messages == []


def test_a_dock_that_is_opened_again_restores_into_its_layers(open_dock, stack, qtbot, messages):
    opened = open_dock(stack)
    opened.points.add([2, 20, 20])
    opened.controller.new_object()
    opened.shapes.add_rectangles([[2, 34, 34], [2, 34, 54], [2, 54, 54], [2, 54, 34]])
    opened.controller.plane.propagate()
    opened.wait_idle()
    labels, prompts, layers = opened.labels().copy(), held(opened), list(opened.viewer.layers)
    opened.viewer.window.remove_dock_widget(opened.dock)
    opened.dock = type(opened.dock)(opened.viewer, FakeEngine())
    opened.viewer.window.add_dock_widget(opened.dock, name="SAM 2 again")
    opened.controller, opened.session = opened.dock.controller, opened.dock.controller.session
    opened.workspace = opened.controller.workspace
    asked = opened.dock.offer.question
    qtbot.waitUntil(lambda: bool(asked.text()), timeout=5000)
    opened.controller.files.answer(True)
    qtbot.waitUntil(lambda: bool(opened.session.stacks), timeout=5000)
    opened.controller.plane.propagate()
    opened.wait_idle()
    assert held(opened) == prompts
    assert list(opened.viewer.layers) == layers
    assert len(opened.points.data) == opened.shapes.nshapes == 1
    np.testing.assert_array_equal(opened.labels(), labels)
    assert messages == []
    for _ in range(2):
        opened.controller.undo()
        settled(opened, qtbot)
    assert not opened.labels().any()
    # what the dock before had left goes with what was restored from it
    assert len(opened.points.data) == opened.shapes.nshapes == 0
    opened.controller.redo()
    settled(opened, qtbot)
    assert len(opened.points.data) == opened.shapes.nshapes == 1
    opened.dock.let_go()


@pytest.mark.parametrize("times", [1, 3])
def test_opening_goes_on_in_the_labels_that_are_there(open_dock, stack, qtbot, tmp_path, times):
    opened = open_dock(stack if times == 1 else np.stack([stack] * times))
    before = () if times == 1 else (0,)
    opened.points.add([*before, 1, 20, 18])
    opened.points.add([*before, 5, 20, 18])
    opened.viewer.dims.current_step = (*before, 1, 0, 0)
    opened.controller.plane.run()
    opened.wait_idle()
    folder = tmp_path / "mine"
    opened.dock.history.save_asked.emit(str(folder))
    qtbot.waitUntil((folder / "session.json").exists, timeout=5000)
    layers, labels = list(opened.viewer.layers), opened.labels().copy()
    opened.viewer.window.remove_dock_widget(opened.dock)
    opened.viewer.dims.current_step = (*[time + 2 for time in before], 4, 0, 0)
    dock = type(opened.dock)(opened.viewer, FakeEngine())
    opened.viewer.window.add_dock_widget(dock, name="SAM 2 again")
    qtbot.waitUntil(lambda: dock.controller.workspace.prompts.points is not None)
    dock.history.open_asked.emit(str(folder))
    qtbot.waitUntil(lambda: bool(dock.controller.session.stacks), timeout=5000)
    dock.controller.finish_display()
    assert list(opened.viewer.layers) == layers
    np.testing.assert_array_equal(opened.viewer.layers["SAM 2 labels"].data, labels)
    # the nearest plane with prompts, as the one in view had no masks
    assert opened.viewer.dims.current_step[: len(before) + 1] == (*before, 5)
    dock.let_go()


def test_work_that_was_begun_is_undone_before_restoring(open_dock, stack, qtbot, killed, messages):
    opened = open_dock(stack, show=True)
    offer = opened.dock.offer
    qtbot.waitUntil(offer.isVisible, timeout=5000)
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    qtbot.mouseClick(offer.restore, Qt.MouseButton.LeftButton)
    assert "There is work on this image already" in messages[0][1]
    opened.controller.undo()
    qtbot.mouseClick(offer.restore, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: bool(opened.session.stacks), timeout=5000)
    settled(opened, qtbot)
    np.testing.assert_array_equal(opened.labels(), killed[0])


def test_an_offer_goes_with_its_image(open_dock, stack, qtbot, killed):
    opened = open_dock(stack, show=True)
    qtbot.waitUntil(opened.dock.offer.isVisible, timeout=5000)
    other = opened.viewer.add_image(stack[:4])
    opened.dock.image.image.chosen.emit(other)
    assert not opened.dock.offer.isVisible()


def test_an_earlier_session_is_discarded(open_dock, stack, qtbot, killed):
    opened = open_dock(stack, show=True)
    offer = opened.dock.offer
    qtbot.waitUntil(offer.isVisible, timeout=5000)
    qtbot.mouseClick(offer.discard, Qt.MouseButton.LeftButton)
    assert not offer.isVisible()
    qtbot.waitUntil(lambda: not killed[2].exists(), timeout=5000)
    assert opened.session.stacks == ()


def test_another_image_has_no_offer(open_dock, stack, qtbot, killed):
    opened = open_dock(stack[:, ::-1], show=True)
    until_identified(opened, qtbot)
    assert not opened.dock.offer.isVisible()


def test_the_session_of_a_dock_that_is_open_is_not_offered(open_dock, stack, qtbot, sessions):
    first = open_dock(stack)
    first.points.add([0, 20, 18])
    first.wait_idle()
    saved(sessions, qtbot)
    second = open_dock(stack, show=True)
    until_identified(second, qtbot)
    assert not second.dock.offer.isVisible()


def test_save_as_and_open(open_dock, stack, qtbot, tmp_path, messages):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate()
    opened.wait_idle()
    folder = tmp_path / "mine"
    opened.dock.history.save_asked.emit(str(folder))
    qtbot.waitUntil(lambda: any("is saved to" in text for _, text in messages), timeout=5000)
    labels = opened.labels().copy()
    again = open_dock(stack)
    again.dock.history.open_asked.emit(str(folder))
    qtbot.waitUntil(lambda: bool(again.session.stacks), timeout=5000)
    settled(again, qtbot)
    np.testing.assert_array_equal(again.labels(), labels)
    messages.clear()
    again.dock.history.open_asked.emit(str(folder))
    qtbot.waitUntil(lambda: bool(messages), timeout=5000)
    assert "There is work on this image already" in messages[0][1]


def test_a_session_that_would_change_objects_of_another_image_is_not_opened(
    open_dock, stack, qtbot, tmp_path, messages
):
    other = stack[:, ::-1].copy()
    opened = open_dock(other)
    for place in ([0, 43, 18], [0, 19, 46]):
        opened.points.add(place)
        opened.wait_idle()
        opened.controller.new_object()
    opened.controller.objects.delete([2])
    opened.wait_idle()
    opened.dock.history.save_asked.emit(str(tmp_path / "deleted"))
    qtbot.waitUntil(lambda: any("is saved to" in text for _, text in messages), timeout=5000)

    opened = open_dock(stack)
    for place in ([0, 20, 18], [0, 44, 46]):
        opened.points.add(place)
        opened.wait_idle()
        opened.controller.new_object()
    labels, target = opened.labels().copy(), opened.workspace.target
    assert set(np.unique(labels)) == {0, 1, 2}
    opened.controller.choose_image(opened.viewer.add_image(other, name="B"))
    messages.clear()
    opened.dock.history.open_asked.emit(str(tmp_path / "deleted"))
    qtbot.waitUntil(lambda: bool(messages), timeout=5000)
    assert "Object 2 of that session is one of another image here" in messages[0][1]
    np.testing.assert_array_equal(target.data, labels)
    assert [entry.object_id for entry in opened.session.objects] == [1, 2]


def test_what_cannot_be_opened_or_saved_to(open_dock, stack, qtbot, tmp_path, messages):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.dock.history.open_asked.emit(str(tmp_path))
    qtbot.waitUntil(lambda: any("is no session" in text for _, text in messages), timeout=5000)
    folder = tmp_path / "mine"
    opened.dock.history.save_asked.emit(str(folder))
    qtbot.waitUntil(lambda: any("is saved to" in text for _, text in messages), timeout=5000)
    other = open_dock(stack[:4])
    other.dock.history.open_asked.emit(str(folder))
    qtbot.waitUntil(lambda: any("of another image" in text for _, text in messages), timeout=5000)
    (folder / "session.json").write_text(
        json.dumps(json.loads((folder / "session.json").read_text()) | {"sha256": "0"})
    )
    opened.dock.history.open_asked.emit(str(folder))
    qtbot.waitUntil(lambda: any("checksum is wrong" in text for _, text in messages), timeout=5000)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("precious")
    opened.dock.history.save_asked.emit(str(tmp_path / "full"))
    assert any("is not empty" in text for _, text in messages)


@pytest.mark.parametrize(
    ("entry", "ending"),
    [("TIFF", ".tif"), ("OME-Zarr", ".ome.zarr"), ("COCO", ".json"), ("tracks", ".csv")],
)
def test_export_from_the_menu(
    open_dock, stack, qtbot, tmp_path, messages, monkeypatch, entry, ending
):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.controller.plane.propagate()
    opened.wait_idle()
    path = tmp_path / f"mine{ending}"
    monkeypatch.setattr(QFileDialog, "exec", lambda dialog: True)
    monkeypatch.setattr(QFileDialog, "selectedFiles", lambda dialog: [str(path)])
    (action,) = (a for a in opened.dock.history.export.menu().actions() if entry in a.text())
    action.trigger()
    qtbot.waitUntil(lambda: bool(messages), timeout=5000)
    assert messages[-1][1] == f"Exported to {path}."
    if ending == ".tif":
        np.testing.assert_array_equal(tifffile.imread(path), opened.labels())
    elif ending == ".ome.zarr":
        np.testing.assert_array_equal(zarr.open_group(path)["0"][...], opened.labels())
    elif ending == ".json":
        assert len(json.loads(path.read_text())["images"]) == len(stack)
    else:
        assert len(path.read_text().splitlines()) == 1 + len(stack)


def test_the_dialog_of_an_export_completes_names(open_dock, monkeypatch):
    endings = []
    monkeypatch.setattr(QFileDialog, "exec", lambda it: endings.append(it.defaultSuffix()))
    for action in open_dock().dock.history.export.menu().actions():
        action.trigger()
    assert endings == ["tif", "ome.zarr", "json", "csv"]


def test_what_cannot_be_exported(open_dock, stack, qtbot, tmp_path, messages):
    opened = open_dock(stack)
    opened.dock.history.export_asked.emit("tiff", str(tmp_path / "labels.tif"))
    assert "There is no mask yet" in messages[-1][1]
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    source = tmp_path / "image.tif"
    source.write_bytes(b"precious")
    opened.workspace.image._source = Source(path=str(source))
    opened.dock.history.export_asked.emit("tiff", str(source))
    qtbot.waitUntil(lambda: any("overwrite the image" in text for _, text in messages))
    assert source.read_bytes() == b"precious"
    opened.dock.history.export_asked.emit("coco", str(tmp_path / "missing" / "masks.json"))
    qtbot.waitUntil(lambda: any("There is no folder" in text for _, text in messages))


WINDOW = """
import sys, time
from types import SimpleNamespace
import napari, numpy as np
from qtpy.QtCore import QTimer
from napari_sam2.plugin.widgets.dock import Sam2Widget
from tests.plugin.conftest import FakeEngine, discs

viewer, engine = napari.Viewer(), FakeEngine()
engine.gate = SimpleNamespace(acquire=lambda: time.sleep(0.02))
viewer.add_image(np.repeat(discs(3), 200, axis=0), name="image")
dock = Sam2Widget(viewer, engine)
viewer.window.add_dock_widget(dock)
dock.controller.prepare_layers()
dock.controller.session.masks_changed.connect(lambda change: print(change.frame, flush=True))
viewer.layers["SAM 2 points"].add([0, 20, 18])
QTimer.singleShot(500, lambda: dock.controller.plane.propagate())
napari.run()
"""


@pytest.mark.parametrize("patience", [0.5, 4.0])
def test_a_window_killed_while_it_propagates_leaves_what_is_two_seconds_old(sessions, patience):
    process = subprocess.Popen(
        [sys.executable, "-c", WINDOW],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    seen, deadline = {}, None
    for line in process.stdout:
        now = time.monotonic()
        seen.setdefault(int(line), now)
        deadline = deadline or now + 2 + patience
        if now > deadline:
            break
    killed = time.monotonic()
    process.kill()
    process.wait()
    process.stdout.close()
    (path,) = folders(sessions)
    found = read_session(path, "image")
    (masks,) = found.masks.values()
    missing = {frame: killed - when for frame, when in seen.items() if frame not in masks}
    assert max(missing.values(), default=0) < 2
    assert isinstance(found.log[-1], Run)


def click_and_paint(opened, qtbot):
    """Prompt object 2 and paint object 3 on frame 0."""
    opened.controller.new_object()
    opened.points.add([0, 44, 46])
    qtbot.wait(250)
    layer = opened.viewer.layers["SAM 2 labels"]
    layer.selected_label = 3
    layer.paint((0, 5, 50), 3)


def test_work_done_during_a_run_is_saved_when_the_dock_is_closed(
    propagating, open_dock, stack, qtbot, sessions, engine
):
    opened = propagating()
    click_and_paint(opened, qtbot)
    opened.controller.objects.rename(1, "nucleus")
    opened.controller.plane.propagate()
    opened.points.add([0, 43, 46])  # and does not settle
    opened.viewer.window.remove_dock_widget(opened.dock)
    engine.gate.release(20)
    (path,) = folders(sessions)
    found = read_session(path, "image")
    (run,) = (each for each in found.log if isinstance(each, Run) and each.request)
    (masks,) = found.masks.values()
    assert (run.outcome, run.results) == ("cancelled", 2)
    assert sorted(masks) == [0, 1]
    assert 3 in masks[0]
    replayed = Session()
    replayed.reopen(found.log, found.masks)
    (key,) = replayed.stacks
    assert {place: len(held) for place, held in replayed.prompts(key).items()} == {
        (1, 0): 1,
        (2, 0): 2,
        (3, 0): 1,
    }
    assert replayed.find_object(1).name == "nucleus"


def test_clicks_and_strokes_of_a_run_are_saved_while_it_goes_on(
    propagating, open_dock, stack, qtbot, sessions, engine
):
    opened = propagating()
    click_and_paint(opened, qtbot)
    qtbot.waitUntil(lambda: folders(sessions) != [], timeout=5000)
    (path,) = folders(sessions)

    def found():
        replayed = Session()
        saved = read_session(path, "image")
        replayed.reopen(saved.log, saved.masks)
        return replayed

    qtbot.waitUntil(lambda: isinstance(found().log[-2], Paint), timeout=2000)
    assert opened.controller.runs.is_busy
    copy = path.with_name("copy")
    shutil.copytree(path, copy)
    killed = found()
    (key,) = killed.stacks
    assert plane_mask(killed.masks(key, 0)[3], stack[0].shape)[5, 50]
    # what it will be when the run has ended
    engine.gate.release(20)
    opened.wait_idle()
    assert killed.prompts(key).keys() == held(opened).keys() == {(1, 0), (2, 0), (3, 0)}
    assert killed.prompts(key)[2, 0] == held(opened)[2, 0]
    assert read_session(copy, "image").log == killed.log[:-1]


@pytest.mark.parametrize("deleted", [False, True])
def test_another_layer_of_prompts_is_saved_while_a_run_goes_on(
    propagating, stack, qtbot, sessions, engine, deleted
):
    opened = propagating()
    path = saved(sessions, qtbot)
    opened.points.add([0, 44, 46])
    qtbot.wait(250)  # taken when the run has ended
    if deleted:
        opened.viewer.layers.remove(opened.points)
    else:
        mine = opened.viewer.add_points([[0, 20, 18], [2, 40, 40]], name="mine")
        opened.controller.choose_points(mine)
    wanted = {} if deleted else {(1, 0): 1, (1, 2): 1}

    def found():
        replayed = Session()
        saved = read_session(path, "image")
        replayed.reopen(saved.log, saved.masks)
        return replayed

    def prompts(session):
        (key,) = session.stacks
        return {place: len(each) for place, each in session.prompts(key).items() if each}

    qtbot.waitUntil(lambda: prompts(found()) == wanted, timeout=2000)
    assert opened.controller.runs.is_busy
    killed = found()
    (key,) = killed.stacks
    assert sorted(killed.masks(key, 0)) == [1]  # which outlives what it was made of
    engine.gate.release(20)
    opened.wait_idle()
    assert prompts(opened.session) == wanted
    assert {k: v for k, v in held(opened).items() if v} == {
        k: v for k, v in killed.prompts(key).items() if v
    }


def test_a_click_of_a_run_is_saved_though_a_save_came_before_it_was_taken(
    propagating, qtbot, sessions, engine
):
    opened = propagating()
    path = saved(sessions, qtbot)
    opened.points.add([0, 44, 46])
    opened.controller.saving.save()  # as it happens by itself, with what is known by now

    def found():
        try:
            return read_session(path, "image").log[-1]
        except SessionError:
            return None  # read in the middle of a write

    click = (PointPrompt((20, 18)), PointPrompt((44, 46)))
    qtbot.waitUntil(lambda: getattr(found(), "prompts", None) == click, timeout=5000)
    assert opened.controller.runs.is_busy
    engine.gate.release(20)


def test_what_is_done_to_objects_during_a_run_is_saved_while_it_goes_on(
    open_dock, stack, qtbot, sessions, engine
):
    engine.gate = threading.Semaphore(0)
    opened = open_dock(stack)
    places = ([0, 20, 18], [0, 44, 46], [0, 20, 22], [2, 20, 22], [2, 44, 46])
    for number, place in enumerate(places, start=1):
        opened.controller.prompting.set_active(number, True)
        opened.points.add(place)
        opened.wait_idle()
    path = saved(sessions, qtbot, len(opened.session.log))
    opened.controller.plane.propagate()
    objects = opened.controller.objects
    objects.rename(2, "nucleus")
    objects.show(2, False)
    objects.merge([1, 3])
    objects.delete([4, 5])
    objects.rename(4, "is refused, as it is gone")

    def found():
        replayed = Session()
        try:
            session = read_session(path, "image")
        except SessionError:
            return None  # read in the middle of a write
        replayed.reopen(session.log, session.masks)
        return [(entry.object_id, entry.name, entry.visible) for entry in replayed.objects]

    expected = [(1, "object 1", True), (2, "nucleus", False)]
    qtbot.waitUntil(lambda: found() == expected, timeout=2000)
    assert opened.controller.runs.is_busy
    engine.gate.release(40)
    opened.wait_idle()
    assert [entry.object_id for entry in opened.session.objects] == [1, 2]


def test_what_is_asked_for_on_a_plane_during_a_run_is_saved_while_it_goes_on(
    propagating, open_dock, sessions, qtbot, engine
):
    opened = propagating()
    viewer, controller = opened.viewer, opened.controller
    labelled = np.zeros(opened.labels().shape, int)
    labelled[0, 30:36, 2:9] = 5
    mine = viewer.add_labels(labelled.copy())
    mine.selected_label = 5
    viewer.dims.set_point(0, 0)
    controller.plane.next_candidate()
    controller.prompting.set_active(2, True)
    controller.plane.use_label()
    controller.prompting.set_active(7, True)  # it was not for this one
    mine.data[:] = 0
    detections = viewer.add_points([[0, 44, 46], [2, 20, 22]])
    viewer.layers.selection.active = detections
    controller.objects.one_each()
    qtbot.waitUntil(lambda: folders(sessions) != [], timeout=5000)
    (path,) = folders(sessions)

    def found():
        replayed = Session()
        try:
            session = read_session(path, "image")
        except SessionError:
            return {}, {}  # read in the middle of a write
        replayed.reopen(session.log, session.masks)
        (key,) = replayed.stacks
        return dict(replayed.prompts(key)), dict(replayed.choices(key))

    expected = {
        (1, 0): (PointPrompt((20, 18)),),
        (2, 0): (MaskPrompt(labelled[0] == 5),),
        (3, 0): (PointPrompt((44, 46)),),
        (4, 2): (PointPrompt((20, 22)),),
    }
    qtbot.waitUntil(lambda: found() == (expected, {(1, 0): 1}), timeout=5000)
    assert controller.runs.is_busy
    engine.gate.release(40)
    opened.wait_idle()
    assert held(opened) == expected
    assert {entry.object_id for entry in opened.session.objects} == {1, 2, 3, 4}


def test_a_click_just_before_the_dock_is_closed_is_saved(open_dock, stack, sessions, qtbot):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    saved(sessions, qtbot, 2)
    opened.points.add([0, 21, 18])
    opened.points.add([0, 22, 18])
    opened.viewer.window.remove_dock_widget(opened.dock)
    (path,) = folders(sessions)
    assert len(read_session(path).log[-1].prompts) == 3

"""Sessions of images that cannot be read at once, and what is saved, opened and restored."""

import threading

import dask.array as da
import numpy as np
from tests.plugin.test_dock import press
from tests.plugin.test_saving import folders, saved

from napari_sam2.plugin import keys
from napari_sam2.session.folder import read_session
from napari_sam2.session.values import ModelChoice


def read_slowly(stack, last_plane):
    """A stack of which the last plane is read by a function, outside of the window's thread."""
    main = threading.current_thread()

    def plane(block, block_info=None):
        if block_info[0]["chunk-location"][0] == 5 and threading.current_thread() is not main:
            last_plane()
        return block

    return da.from_array(stack, chunks=(1, -1, -1)).map_blocks(
        plane, dtype=np.uint8, meta=np.empty((0, 0, 0), np.uint8)
    )


def fail():
    raise OSError("truncated file")


def work_and_close(open_dock, stack):
    """Leave a session of one click behind."""
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.viewer.window.remove_dock_widget(opened.dock)
    return opened


def until_offered(opened, qtbot):
    qtbot.waitUntil(lambda: bool(opened.dock.offer.question.text()), timeout=5000)


def test_work_on_an_image_with_a_plane_that_cannot_be_read_is_saved_and_offered(
    open_dock, stack, qtbot, sessions, messages
):
    broken = read_slowly(stack, fail)
    opened = open_dock(broken, contrast_limits=(0, 255), name="broken")
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    path = saved(sessions, qtbot, 2)
    qtbot.waitUntil(lambda: bool(messages), timeout=5000)
    (told,) = messages
    assert "“broken” cannot be read as a whole (truncated file)" in told[1]
    opened.viewer.window.remove_dock_widget(opened.dock)
    assert len(read_session(path).log) == 2
    other = open_dock(broken, contrast_limits=(0, 255), name="another")
    qtbot.waitUntil(lambda: len(messages) == 2 and not other.controller._jobs._running)
    assert not other.dock.offer.question.text()
    again = open_dock(broken, contrast_limits=(0, 255), name="broken")
    until_offered(again, qtbot)
    again.controller.files.answer(True)
    qtbot.waitUntil(lambda: bool(again.session.stacks), timeout=5000)


def test_work_is_saved_before_an_image_is_read(open_dock, stack, qtbot, sessions):
    go_on = threading.Event()
    slow = read_slowly(stack, lambda: go_on.wait(20))
    opened = open_dock(slow, contrast_limits=(0, 255))
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    path = saved(sessions, qtbot, 2)
    assert not read_session(path).image.sha256
    go_on.set()
    qtbot.waitUntil(lambda: bool(read_session(path).image.sha256), timeout=5000)
    opened.viewer.window.remove_dock_widget(opened.dock)
    until_offered(open_dock(stack, name="as read from another file"), qtbot)


def test_a_click_on_another_image_during_a_run_is_saved(open_dock, stack, qtbot, sessions, engine):
    engine.gate = threading.Semaphore(0)
    opened = open_dock(stack[:, ::-1], stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.controller.plane.propagate()
    opened.dock.image.image.chosen.emit(opened.viewer.layers["image"])
    opened.workspace.prompts.points.add([3, 20, 18])
    qtbot.waitUntil(lambda: len(folders(sessions)) == 2, timeout=3000)
    assert opened.controller.runs.is_busy
    engine.gate.release(20)


def test_a_session_that_is_restored_and_left_as_it_is_takes_no_place(
    open_dock, stack, qtbot, sessions
):
    work_and_close(open_dock, stack)
    (path,) = folders(sessions)
    for _ in range(2):
        again = open_dock(stack)
        until_offered(again, qtbot)
        again.controller.files.answer(True)
        qtbot.waitUntil(lambda: len(folders(sessions)) == 2, timeout=5000)
        again.viewer.window.remove_dock_widget(again.dock)
        assert folders(sessions) == [path]
    again = open_dock(stack)
    until_offered(again, qtbot)
    again.controller.files.answer(True)
    qtbot.waitUntil(lambda: bool(again.session.stacks), timeout=5000)
    again.points.add([1, 20, 18])
    again.wait_idle()
    again.viewer.window.remove_dock_widget(again.dock)
    assert len(folders(sessions)) == 2


def test_what_was_taken_back_in_one_of_two_images_is_not_offered(open_dock, stack, qtbot, sessions):
    opened = open_dock(stack[:, ::-1], stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    saved(sessions, qtbot)
    opened.controller.undo()
    opened.dock.image.image.chosen.emit(opened.viewer.layers["image"])
    opened.workspace.prompts.points.add([0, 43, 18])
    opened.wait_idle()
    opened.viewer.window.remove_dock_widget(opened.dock)
    (path,) = folders(sessions)
    assert len(read_session(path).log) == 2


def test_the_question_comes_back_with_its_image(open_dock, stack, qtbot, sessions):
    work_and_close(open_dock, stack)
    again = open_dock(stack)
    until_offered(again, qtbot)
    image, other = again.workspace.image, again.viewer.add_image(stack[:4])
    again.dock.image.image.chosen.emit(other)
    assert not again.dock.offer.question.text()
    again.dock.image.image.chosen.emit(image)
    assert again.dock.offer.question.text()


def test_pixels_that_change_when_the_dock_is_closed_are_no_work(open_dock, stack, qtbot, sessions):
    opened = work_and_close(open_dock, stack)
    before = folders(sessions)
    opened.viewer.layers["image"].data = stack[:, ::-1].copy()
    qtbot.wait(1000)
    assert folders(sessions) == before
    assert not [each for each in threading.enumerate() if "saver" in each.name]


def test_save_as_keeps_the_session_of_another_image(open_dock, stack, qtbot, tmp_path, messages):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    for _ in range(2):  # its own is replaced
        opened.dock.history.save_asked.emit(str(tmp_path / "mine"))
        qtbot.waitUntil(lambda: any("is saved to" in text for _, text in messages), timeout=5000)
        messages.clear()
    opened.dock.image.image.chosen.emit(opened.viewer.add_image(stack[:3]))
    opened.dock.history.save_asked.emit(str(tmp_path / "mine"))
    qtbot.waitUntil(lambda: bool(messages), timeout=5000)
    assert "is of another image, “image”. Choose an empty folder." in messages[-1][1]
    assert read_session(tmp_path / "mine").image.shape == stack.shape


def test_a_restored_session_goes_on_as_before(open_dock, stack, qtbot, tmp_path, messages):
    opened = open_dock(stack, contrast_limits=(10, 200))
    opened.dock.model.precision.setCurrentText("float32")
    opened.dock.model.size.setCurrentIndex(opened.dock.model.size.findData(512))
    opened.dock.model._emit()
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.dock.history.save_asked.emit(str(tmp_path / "mine"))
    qtbot.waitUntil(lambda: any("is saved to" in text for _, text in messages), timeout=5000)
    again = open_dock(stack)
    again.dock.history.open_asked.emit(str(tmp_path / "mine"))
    qtbot.waitUntil(lambda: bool(again.session.stacks), timeout=5000)
    assert again.controller._work.model == ModelChoice("nano", "auto", "float32", 512)
    assert again.workspace.image.contrast_limits == [10, 200]


def test_a_model_of_a_restored_session_that_is_not_here_is_told(
    open_dock, stack, qtbot, tmp_path, messages
):
    opened = open_dock(stack)
    opened.controller.set_model(ModelChoice(str(tmp_path / "tuned.safetensors")))
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    opened.dock.history.save_asked.emit(str(tmp_path / "mine"))
    qtbot.waitUntil(lambda: any("is saved to" in text for _, text in messages), timeout=5000)
    again = open_dock(stack)
    messages.clear()
    again.dock.history.open_asked.emit(str(tmp_path / "mine"))
    qtbot.waitUntil(lambda: bool(messages), timeout=5000)
    assert "was made with tuned.safetensors, which is not on this computer" in messages[0][1]
    assert again.controller._work.model == ModelChoice()


def test_a_row_chosen_again_after_a_new_object_is_active(open_dock, stack, qtbot):
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    table = opened.dock.objects.table
    table.selectRow(0)
    press(opened, qtbot, keys.NEW_OBJECT)
    assert opened.controller.prompting.active == (2, True)
    qtbot.wait(100)
    table.selectRow(0)
    assert opened.controller.prompting.active == (1, True)


def test_an_image_that_gets_another_axis_is_another_one(
    open_dock, stack, qtbot, sessions, messages
):
    opened = open_dock(stack[0])
    opened.points.add([20, 18])
    opened.wait_idle()
    saved(sessions, qtbot, 2)
    opened.viewer.layers["image"].data = stack
    qtbot.wait(100)
    opened.controller.prepare_layers()
    opened.workspace.prompts.points.add([0, 20, 18])
    opened.wait_idle()
    opened.workspace.target.paint((0, 5, 50), 1)
    opened.wait_idle()
    qtbot.waitUntil(lambda: len(folders(sessions)) == 2, timeout=5000)
    opened.controller.undo()
    opened.wait_idle()
    opened.viewer.window.remove_dock_widget(opened.dock)
    kept = {read_session(path).image.shape: read_session(path) for path in folders(sessions)}
    assert set(kept) == {(64, 64), (6, 64, 64)}
    assert all(session.log for session in kept.values())


def test_a_folder_that_could_not_be_made_is_made_later(
    open_dock, stack, qtbot, sessions, messages, monkeypatch
):
    monkeypatch.setattr("napari_sam2.plugin.saving._RETRY_MS", 300)
    sessions.write_text("in the way")
    opened = open_dock(stack)
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    qtbot.waitUntil(lambda: bool(messages), timeout=5000)
    assert "cannot be saved now, and is tried again" in messages[0][1]
    sessions.unlink()
    saved(sessions, qtbot, 2)
    assert len(messages) == 1


def test_one_answer_counts_for_all_layers_of_the_same_pixels(open_dock, stack, qtbot, sessions):
    work_and_close(open_dock, stack)
    again = open_dock(stack, stack)
    until_offered(again, qtbot)
    again.dock.image.image.chosen.emit(again.viewer.layers["image"])
    until_offered(again, qtbot)
    again.controller.files.answer(False)
    qtbot.waitUntil(lambda: not folders(sessions), timeout=5000)
    again.dock.image.image.chosen.emit(again.viewer.layers["image [1]"])
    assert not again.dock.offer.question.text()


def test_work_that_goes_over_to_other_pixels_after_a_restore_is_kept(
    open_dock, stack, qtbot, sessions
):
    work_and_close(open_dock, stack)
    again = open_dock(stack)
    until_offered(again, qtbot)
    again.controller.files.answer(True)
    qtbot.waitUntil(lambda: len(folders(sessions)) == 2, timeout=5000)
    again.viewer.layers["image"].data = stack // 2
    qtbot.waitUntil(lambda: len({path.parent for path in folders(sessions)}) == 2, timeout=5000)
    again.viewer.window.remove_dock_widget(again.dock)
    assert len({path.parent for path in folders(sessions)}) == 2


def other_and_session(opener, stack, qtbot, path, messages, number):
    """Save a session of one object; then choose, in a dock for two images, the one it is of."""
    saved_by = opener(stack)
    saved_by.controller.prompting.set_active(number, True)
    saved_by.points.add([0, 20, 18])
    saved_by.wait_idle()
    saved_by.dock.history.save_asked.emit(str(path))
    qtbot.waitUntil(lambda: any("is saved to" in text for _, text in messages), timeout=5000)
    opened = opener(stack[:, ::-1], stack)
    return opened, *(opened.viewer.layers[name] for name in ("image", "image [1]"))


def numbers_of(opened):
    return sorted(
        sorted({number for number, _ in opened.session.prompts(s)}) for s in opened.session.stacks
    )


def test_a_session_with_the_next_number_of_another_image(
    open_dock, stack, qtbot, tmp_path, messages
):
    opened, other, image = other_and_session(
        open_dock, stack, qtbot, tmp_path / "mine", messages, 2
    )
    for chosen in (other, image):
        opened.dock.image.image.chosen.emit(chosen)
        qtbot.wait(250)
        if chosen is other:
            opened.workspace.prompts.make("points")
            opened.workspace.prompts.points.add([0, 43, 18])
            opened.wait_idle()
            opened.controller.new_object()
    opened.dock.history.open_asked.emit(str(tmp_path / "mine"))
    qtbot.waitUntil(lambda: len(opened.session.stacks) == 2, timeout=5000)
    opened.dock.image.image.chosen.emit(other)
    qtbot.wait(250)
    opened.workspace.prompts.points.add([0, 19, 46])
    opened.wait_idle()
    assert numbers_of(opened) == [[1, 3], [2]]


def test_after_opening_a_session_its_own_object_is_active(
    open_dock, stack, qtbot, tmp_path, messages
):
    opened, other, image = other_and_session(
        open_dock, stack, qtbot, tmp_path / "mine", messages, 1
    )
    opened.dock.image.image.chosen.emit(other)
    qtbot.wait(250)
    opened.workspace.prompts.make("points")
    opened.controller.prompting.set_active(5, True)
    opened.workspace.prompts.points.add([0, 43, 18])
    opened.wait_idle()
    opened.dock.image.image.chosen.emit(image)
    qtbot.wait(250)
    opened.dock.history.open_asked.emit(str(tmp_path / "mine"))
    qtbot.waitUntil(lambda: len(opened.session.stacks) == 2, timeout=5000)
    assert opened.controller.prompting.active == (1, True)
    # what is left there has its number still
    opened.dock.image.image.chosen.emit(other)
    qtbot.wait(250)
    assert opened.controller.prompting.active == (5, True)

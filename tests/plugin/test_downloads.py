"""Downloading a published model from the dock."""

import threading

import pytest

from napari_sam2.checkpoints.download import path_of
from napari_sam2.checkpoints.errors import DownloadError
from napari_sam2.checkpoints.registry import CHECKPOINTS
from napari_sam2.session.values import ModelChoice


class Server:
    """Stands in for the download: gives a piece for each release of the gate."""

    def __init__(self):
        self.gate = threading.Semaphore(0)
        self.error = None
        self.threads = set()

    def __call__(self, checkpoint, progress, cancelled):
        self.threads.add(threading.get_ident())
        for piece in range(4):
            self.gate.acquire()
            if cancelled():
                return None
            if self.error is not None:
                raise self.error
            progress(piece * 1_000_000, checkpoint.size)
        path = path_of(checkpoint)
        path.write_bytes(b"weights")
        return path


@pytest.fixture
def opened(open_dock, stack, tmp_path, monkeypatch):
    monkeypatch.setenv("NAPARI_SAM2_MODELS", str(tmp_path))
    opened = open_dock(stack, show=True)
    opened.server = opened.controller.downloads._fetch = Server()
    opened.section = opened.dock.model
    return opened


def pick(section, name):
    index = section.model.findData(name)
    section.model.setCurrentIndex(index)
    section.model.activated.emit(index)


def test_a_model_is_offered_downloaded_and_used(opened, qtbot, engine, messages):
    section = opened.section
    index = section.model.findData("sam2.1_tiny")
    assert section.model.itemText(index) == "sam2.1_tiny ↓ 156 MB"
    assert not section.download.isVisible()
    pick(section, "sam2.1_tiny")
    assert section.download.isVisible()
    assert section.download.text() == "Download 156 MB, Apache-2.0"
    assert section.note.text().endswith("Until it is there, nano is used.")
    section.download.click()
    assert not section.download.isVisible()
    opened.server.gate.release(2)
    qtbot.waitUntil(lambda: section.progress.text() == "1.0 MB of 156 MB", timeout=3000)

    # until it is there, everything goes on with the model before
    opened.points.add([0, 20, 18])
    opened.wait_idle()
    section.device.activated.emit(0)
    assert engine.loaded == [ModelChoice("nano")]

    opened.server.gate.release(2)
    qtbot.waitUntil(lambda: not opened.controller.downloads.is_busy, timeout=3000)
    assert section.model.itemText(index) == "sam2.1_tiny — 156 MB"
    assert not section.progress.isVisible()
    assert section.model.isEnabled()
    opened.points.add([0, 44, 46])
    opened.wait_idle()
    assert engine.loaded[-1] == ModelChoice("sam2.1_tiny")
    assert threading.get_ident() not in opened.server.threads
    assert messages == []


def test_cancel_and_errors_leave_the_model_before(opened, qtbot, messages):
    section = opened.section
    pick(section, "sam2.1_tiny")
    section.download.click()
    opened.server.gate.release()
    section.cancel.click()
    opened.server.gate.release()
    qtbot.waitUntil(lambda: section.download.isVisible(), timeout=3000)
    assert messages == []

    opened.server.error = DownloadError("The network is down.")
    section.download.click()
    opened.server.gate.release(2)
    qtbot.waitUntil(lambda: not opened.controller.downloads.is_busy, timeout=3000)
    assert messages == [("error", "The network is down.")]
    assert section.download.isVisible()
    pick(section, "nano")
    assert not section.download.isVisible()


def test_a_dock_closed_while_downloading(opened, qtbot, messages):
    pick(opened.section, "sam2.1_tiny")
    opened.section.download.click()
    opened.viewer.window.remove_dock_widget(opened.dock)
    opened.server.gate.release(8)
    qtbot.wait(200)
    assert not path_of(CHECKPOINTS["sam2.1_tiny"]).exists()
    assert messages == []

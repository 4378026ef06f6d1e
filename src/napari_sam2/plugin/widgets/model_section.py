"""Which model runs, and where."""

from __future__ import annotations

from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QFileDialog

from napari_sam2.plugin.widgets.section import Section

_DEVICES = ("auto", "cpu", "cuda", "mps")
_FILE_TEXT = "own checkpoint file…"
_FILE_FILTER = "Checkpoints (*.pt *.pth *.safetensors);;All files (*)"


class ModelSection(Section):
    """Model and device.

    Attributes
    ----------
    model_chosen : Signal(str, str)
        Emitted with the name or path of the checkpoint, and the device.
    """

    model_chosen = Signal(str, str)

    def __init__(self) -> None:
        super().__init__("Model")
        self.model = QComboBox()
        self.model.addItem("nano (bundled)", "nano")
        self.model.addItem(_FILE_TEXT, None)
        self.model.setMinimumContentsLength(8)
        self.model.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.device = QComboBox()
        self.device.addItems(_DEVICES)
        self.add_row(
            "model",
            self.model,
            tip="nano comes with the plugin and is quick. A checkpoint file of SAM 2 or 2.1, "
            "tiny to large, can be loaded instead.",
        )
        self.add_row(
            "device", self.device, tip="Where the model runs; auto takes a GPU where there is one."
        )
        self._chosen = 0
        self.model.activated.connect(self._on_activated)
        self.device.activated.connect(self._emit)

    def add_file(self, path: str) -> None:
        """List a checkpoint file and choose it."""
        if self.model.findData(path) < 0:
            self.model.insertItem(self.model.count() - 1, Path(path).name, path)
        self.model.setCurrentIndex(self.model.findData(path))
        self._emit()

    def _on_activated(self, index: int) -> None:
        if self.model.itemData(index) is not None:
            self._emit()
            return
        path, _ = QFileDialog.getOpenFileName(self, "Choose a checkpoint", "", _FILE_FILTER)
        if path:
            self.add_file(path)
        else:
            self.model.setCurrentIndex(self._chosen)

    def _emit(self) -> None:
        self._chosen = self.model.currentIndex()
        self.model_chosen.emit(self.model.currentData(), self.device.currentText())

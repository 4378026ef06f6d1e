"""Which model runs, and where."""

from __future__ import annotations

import sys
from pathlib import Path

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QFileDialog, QLabel, QProgressBar, QPushButton, QWidget

from napari_sam2.checkpoints.download import address_of, is_downloaded
from napari_sam2.checkpoints.registry import CHECKPOINTS, NANO_FILE, megabytes
from napari_sam2.plugin.widgets.section import Section
from napari_sam2.session.values import ModelChoice

_DEVICES = ("auto", "cpu", "mps" if sys.platform == "darwin" else "cuda")
_PRECISIONS = ("auto", "float32", "bfloat16", "float16")
_SIZES = (256, 512, 768, 1024)
_FILE_TEXT = "own checkpoint file…"
_FILE_FILTER = "Checkpoints (*.pt *.pth *.safetensors);;All files (*)"


class ModelSection(Section):
    """Model and device, and the download of a model that is not there yet.

    Attributes
    ----------
    model_chosen : Signal(object)
        Emitted with the `ModelChoice`.
    download_asked : Signal(str)
        Emitted with the name of the checkpoint to download.
    cancel_asked : Signal()
        Emitted when the download is to stop.
    """

    model_chosen = Signal(object)
    download_asked = Signal(str)
    cancel_asked = Signal()

    def __init__(self) -> None:
        super().__init__("Model")
        self.model = QComboBox()
        self.model.addItem(f"nano — {megabytes(NANO_FILE.stat().st_size)}, bundled", "nano")
        for checkpoint in CHECKPOINTS.values():
            self.model.addItem("", checkpoint.name)
        self.model.addItem(_FILE_TEXT, None)
        self._name_models()
        self.model.setMinimumContentsLength(8)
        self.model.setSizeAdjustPolicy(
            QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon
        )
        self.device, self.precision, self.size = QComboBox(), QComboBox(), QComboBox()
        self.device.addItems(_DEVICES)
        self.precision.addItems(_PRECISIONS)
        self.size.addItem("the model's own size", None)
        for side in _SIZES:
            self.size.addItem(f"{side} x {side} pixels", side)
        self.download = QPushButton()
        self.progress = QProgressBar()
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip("Stop; what has arrived is kept for the next time.")
        self.add_row(
            "model",
            self.model,
            tip="nano comes with the plugin and is quick. The published models are better on "
            "difficult images and are downloaded once, when you ask for it. A checkpoint file of "
            "your own can be loaded, too.",
        )
        self.note = QLabel()
        self.note.setWordWrap(True)
        self.add_row("", self.note)
        # hidden with the rest of its row, or the row would leave a gap
        self._caption = self.add_row("", self.download, self.progress, self.cancel)
        self.device.setToolTip("Where the model runs; auto takes a GPU where there is one.")
        self.precision.setToolTip(
            "What the model computes in; auto is bfloat16 where the GPU or the processor is faster "
            "with it, else float32."
        )
        self.add_row("runs on", self.device, self.precision, even=True)
        self.add_row(
            "input",
            self.size,
            tip="The size that a plane is brought to for the model. A smaller one is faster and "
            "gives other, coarser masks.",
        )
        self._chosen = self._before = 0
        self.note.setText(self._about(0))
        self._show_only()
        self.model.activated.connect(self._on_activated)
        for choice in (self.device, self.precision, self.size):
            choice.activated.connect(self._emit)
        self.download.clicked.connect(lambda: self.download_asked.emit(self.model.currentData()))
        self.cancel.clicked.connect(lambda: self.cancel_asked.emit())

    def add_file(self, path: str) -> None:
        """Choose a model, or a checkpoint file, which is listed from then on."""
        if self.model.findData(path) < 0:
            self.model.insertItem(self.model.count() - 1, Path(path).name, path)
        self.model.setCurrentIndex(self.model.findData(path))
        self._choose(self.model.currentIndex())

    def take_up(self, choice: ModelChoice) -> bool:
        """Choose what an earlier session ran; where it runs stays. Gives whether it is here."""
        checkpoint, name = CHECKPOINTS.get(choice.name), choice.name
        if not (
            is_downloaded(checkpoint) if checkpoint else name == "nano" or Path(name).is_file()
        ):
            return False
        self.precision.setCurrentText(choice.precision)
        if choice.image_size is not None and self.size.findData(choice.image_size) < 0:
            side = choice.image_size
            self.size.addItem(f"{side} x {side} pixels", side)
        self.size.setCurrentIndex(self.size.findData(choice.image_size))
        self.add_file(name)
        return True

    def refuse(self, message: str) -> None:
        """Go back to the model before, where the one that is chosen cannot be used, as is told."""
        name = Path(self.model.itemData(self._chosen)).name
        before = Path(self.model.itemData(self._before)).name
        if name not in message or self._before == self._chosen:
            return  # another was chosen meanwhile, or there is no other
        self.model.setCurrentIndex(self._before)
        self._choose(self._before)
        self._before = 0  # nano: what was refused is not gone back to
        self.note.setText(f"{name} cannot be used, so {before} is. {self._about(self._chosen)}")

    def show_note(self, text: str) -> None:
        """Say something of the model that runs: that it is slow here."""
        self.note.setText(f"{self._about(self._chosen)} {text}")

    def show_download(self, done: int, total: int) -> None:
        """Show how many bytes of a download are there; a total of 0 is not known."""
        self._show_only(self.progress, self.cancel)
        self.model.setEnabled(False)
        # bytes may be more than the bar can count
        self.progress.setRange(0, 1000 if total else 0)
        self.progress.setValue(1000 * done // total if total else 0)
        self.progress.setFormat(f"{megabytes(done)} of {megabytes(total)}" if total else "")

    def end_download(self, name: str) -> None:
        """Choose the model that is there now; with "" the download was not finished."""
        self.model.setEnabled(True)
        self._name_models()
        if name:
            self.model.setCurrentIndex(self.model.findData(name))
        self._on_activated(self.model.currentIndex())

    def _name_models(self) -> None:
        tip = Qt.ItemDataRole.ToolTipRole
        for index in range(self.model.count()):
            checkpoint = CHECKPOINTS.get(self.model.itemData(index))
            if checkpoint is not None:
                here = "—" if is_downloaded(checkpoint) else "↓"
                self.model.setItemText(index, f"{checkpoint.name} {here} {checkpoint.size_text}")
            self.model.setItemData(index, self._about(index), tip)

    def _about(self, index: int) -> str:
        """What a model is good for, and its licence."""
        checkpoint = CHECKPOINTS.get(self.model.itemData(index))
        if checkpoint is not None:
            return f"For {checkpoint.purpose}. Licence: {checkpoint.licence}."
        if self.model.itemData(index) == "nano":
            return "For quick work without a GPU. Licence: BSD-3-Clause."
        return ""

    def _show_only(self, *widgets: QWidget) -> None:
        for widget in (self.download, self.progress, self.cancel):
            widget.setVisible(widget in widgets)
        self._caption.setVisible(bool(widgets))

    def _on_activated(self, index: int) -> None:
        chosen = self.model.itemData(index)
        checkpoint = CHECKPOINTS.get(chosen)
        if checkpoint is not None and not is_downloaded(checkpoint):
            self.download.setText(f"Download {checkpoint.size_text}, {checkpoint.licence}")
            self.download.setToolTip(f"From {address_of(checkpoint)}.")
            used = Path(self.model.itemData(self._chosen)).name
            self.note.setText(f"{self._about(index)} Until it is there, {used} is used.")
            self._show_only(self.download)
        elif chosen is not None:
            self._choose(index)
        else:
            path, _ = QFileDialog.getOpenFileName(self, "Choose a checkpoint", "", _FILE_FILTER)
            if path:
                self.add_file(path)
            else:
                self.model.setCurrentIndex(self._chosen)

    def _choose(self, index: int) -> None:
        self._show_only()
        if index != self._chosen:
            self._before, self._chosen = self._chosen, index
        self.note.setText(self._about(index))
        self._emit()

    def _emit(self) -> None:
        self.model_chosen.emit(
            ModelChoice(
                self.model.itemData(self._chosen),
                self.device.currentText(),
                self.precision.currentText(),
                self.size.currentData(),
            )
        )

"""What is being done, in view wherever the dock is scrolled to."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QGridLayout, QLabel, QProgressBar, QPushButton, QWidget

from napari_sam2.plugin import keys


class Footer(QWidget):
    """A sentence, a bar and a button to cancel.

    Attributes
    ----------
    cancel_asked : Signal()
        Emitted when the button is pressed.
    """

    cancel_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.status = QLabel()
        self.status.setWordWrap(True)
        self.status.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        # room for two lines from the start, so that nothing moves when a text grows
        self.status.setMinimumHeight(2 * self.status.fontMetrics().lineSpacing())
        self.progress = QProgressBar()
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip(f"Stop; what was found stays. Key: {keys.CANCEL}")
        self.cancel.setEnabled(False)
        layout = QGridLayout(self)
        layout.setContentsMargins(10, 6, 10, 8)
        layout.addWidget(self.progress, 0, 0)
        layout.addWidget(self.cancel, 0, 1)
        layout.addWidget(self.status, 1, 0, 1, 2)
        layout.setColumnStretch(0, 1)
        self.cancel.clicked.connect(lambda: self.cancel_asked.emit())
        self.show_step("Ready")

    def show_step(self, text: str) -> None:
        """Show what was done, without a model and so without a bar."""
        self.progress.setRange(0, 1)
        self.progress.setValue(0)
        self.progress.setFormat("")
        self.status.setText(text)

    def show_progress(self, done: int, total: int) -> None:
        """Show how many frames are done; a single one is too short to be worth a bar."""
        if total > 1:
            self.progress.setRange(0, total)
            self.progress.setValue(done)
            self.progress.setFormat("%v of %m planes")

    def show_status(self, text: str) -> None:
        """Show a sentence on what is being done."""
        self.status.setText(text)

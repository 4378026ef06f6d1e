"""One sentence on what to do next, for who is new."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from napari_sam2.plugin import keys

NO_IMAGE, CLICK, PROPAGATE, NOTHING = "no image", "click", "propagate", ""
_TEXTS = {
    NO_IMAGE: "Open an image: drag a file into the window. Or try it on a sample.",
    CLICK: "Click on an object in the image. "
    "The right button takes away what does not belong to it.",
    PROPAGATE: f"{keys.NEW_OBJECT} begins the next object. "
    f"{keys.PROPAGATE} carries all of them through the other planes.",
    NOTHING: "",
}


class Hint(QWidget):
    """Shows a hint, and a sample where there is no image.

    Attributes
    ----------
    sample_asked : Signal()
        Emitted when the button is pressed.
    """

    sample_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.sample = QPushButton("Open a sample")
        self.sample.setToolTip("A generated z-stack of nuclei: no network is needed.")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.text, 1)
        layout.addWidget(self.sample)
        self.sample.clicked.connect(lambda: self.sample_asked.emit())
        self.show_hint(NOTHING)

    def show_hint(self, what: str) -> None:
        """Show one of the hints of this module, or none."""
        self.text.setText(_TEXTS[what])
        self.sample.setVisible(what == NO_IMAGE)
        self.setVisible(bool(what))
        # Qt leaves the text as narrow as it was beside the button
        self.layout().activate()

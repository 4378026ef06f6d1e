"""The question whether to go on with an earlier session."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget


class RestoreOffer(QWidget):
    """Asks at the top of the dock, where it is seen; hidden while there is nothing to ask.

    Attributes
    ----------
    answered : Signal(bool)
        Emitted with whether the earlier session is to be restored.
    """

    answered = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self.question = QLabel()
        self.question.setWordWrap(True)
        self.restore = QPushButton("Restore")
        self.restore.setToolTip("Bring prompts and masks back and go on with them.")
        self.discard = QPushButton("Discard")
        self.discard.setToolTip("Delete the earlier session.")
        layout, row = QVBoxLayout(self), QHBoxLayout()
        for each in (layout, row):
            each.setContentsMargins(0, 0, 0, 0)
            each.setSpacing(6)
        layout.addWidget(self.question)
        layout.addLayout(row)
        for button in (self.restore, self.discard):
            row.addWidget(button, 1)
        self.restore.clicked.connect(lambda: self.answered.emit(True))
        self.discard.clicked.connect(lambda: self.answered.emit(False))
        self.ask("")

    def ask(self, text: str) -> None:
        """Ask whether to restore an earlier session; an empty text asks no longer."""
        self.question.setText(text)
        self.setVisible(bool(text))

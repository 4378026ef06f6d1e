"""What was done: take it back, save it, open it again."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_sam2.plugin import keys
from napari_sam2.plugin.widgets.section import Section


class SessionSection(Section):
    """Undo and redo, and sessions in folders.

    Attributes
    ----------
    undo_asked, redo_asked : Signal()
        Emitted when the buttons are pressed.
    save_asked, open_asked : Signal(str)
        Emitted with the folder that the user chose.
    restore_answered : Signal(bool)
        Emitted with whether the earlier session is to be restored.
    """

    undo_asked = Signal()
    redo_asked = Signal()
    save_asked = Signal(str)
    open_asked = Signal(str)
    restore_answered = Signal(bool)

    def __init__(self) -> None:
        super().__init__("Session")
        self.undo = QPushButton("Undo")
        self.redo = QPushButton("Redo")
        self.save = QPushButton("Save as…")
        self.save.setToolTip("Save prompts and masks to a folder; changes are saved by themselves.")
        self.open = QPushButton("Open…")
        self.open.setToolTip("Go on with a session that was saved to a folder.")
        self.question = QLabel()
        self.question.setWordWrap(True)
        self.restore = QPushButton("Restore")
        self.restore.setToolTip("Bring prompts and masks back and go on with them.")
        self.discard = QPushButton("Discard")
        self.discard.setToolTip("Delete the earlier session.")
        self.offer = _offer(self.question, self.restore, self.discard)
        self.add_row("", self.undo, self.redo, even=True)
        self.add_row("", self.save, self.open, even=True)
        self._caption = self.add_row("", self.offer)
        self.undo.clicked.connect(lambda: self.undo_asked.emit())
        self.redo.clicked.connect(lambda: self.redo_asked.emit())
        self.save.clicked.connect(self._choose_save)
        self.open.clicked.connect(self._choose_open)
        self.restore.clicked.connect(lambda: self.restore_answered.emit(True))
        self.discard.clicked.connect(lambda: self.restore_answered.emit(False))
        self.show_history("", "")
        self.show_offer("")

    def show_history(self, undo: str, redo: str) -> None:
        """Show what undo and redo would do; empty where there is nothing."""
        for button, verb, name, key in (
            (self.undo, "Undo", undo, keys.UNDO),
            (self.redo, "Redo", redo, keys.REDO),
        ):
            button.setEnabled(bool(name))
            what = f"{verb} “{name}”." if name else f"There is nothing to {verb.lower()}."
            button.setToolTip(f"{what} Key: {key}")

    def show_offer(self, text: str) -> None:
        """Ask whether to restore an earlier session; an empty text asks no longer."""
        self.question.setText(text)
        self.offer.setVisible(bool(text))
        self._caption.setVisible(bool(text))

    def _choose_save(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Choose an empty folder for the session")
        if path:
            self.save_asked.emit(path)

    def _choose_open(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Choose the folder of a session")
        if path:
            self.open_asked.emit(path)


def _offer(question: QLabel, *buttons: QPushButton) -> QWidget:
    widget = QWidget()
    layout, row = QVBoxLayout(widget), QHBoxLayout()
    for each in (layout, row):
        each.setContentsMargins(0, 0, 0, 0)
        each.setSpacing(6)
    layout.addWidget(question)
    layout.addLayout(row)
    for button in buttons:
        row.addWidget(button, 1)
    return widget

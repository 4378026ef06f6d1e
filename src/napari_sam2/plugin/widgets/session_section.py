"""What was done: take it back, save it, open it again."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QPushButton

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
    """

    undo_asked = Signal()
    redo_asked = Signal()
    save_asked = Signal(str)
    open_asked = Signal(str)

    def __init__(self) -> None:
        super().__init__("Session")
        self.undo = QPushButton("Undo")
        self.redo = QPushButton("Redo")
        self.save = QPushButton("Save as…")
        self.save.setToolTip("Save prompts and masks to a folder; changes are saved by themselves.")
        self.open = QPushButton("Open…")
        self.open.setToolTip("Go on with a session that was saved to a folder.")
        self.add_row("", self.undo, self.redo, even=True)
        self.add_row("", self.save, self.open, even=True)
        self.undo.clicked.connect(lambda: self.undo_asked.emit())
        self.redo.clicked.connect(lambda: self.redo_asked.emit())
        self.save.clicked.connect(self._choose_save)
        self.open.clicked.connect(self._choose_open)
        self.show_history("", "")

    def show_history(self, undo: str, redo: str) -> None:
        """Show what undo and redo would do; empty where there is nothing."""
        for button, verb, name, key in (
            (self.undo, "Undo", undo, keys.UNDO),
            (self.redo, "Redo", redo, keys.REDO),
        ):
            button.setEnabled(bool(name))
            what = f"{verb} “{name}”." if name else f"There is nothing to {verb.lower()}."
            button.setToolTip(f"{what} Key: {key}")

    def _choose_save(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Choose an empty folder for the session")
        if path:
            self.save_asked.emit(path)

    def _choose_open(self) -> None:
        path = QFileDialog.getExistingDirectory(self, "Choose the folder of a session")
        if path:
            self.open_asked.emit(path)

"""What was done: take it back, save it, open it again, export it."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QMenu, QPushButton

from napari_sam2.plugin import keys
from napari_sam2.plugin.widgets.section import Section

_EXPORTS = (  # the session's name of a format, what it is here, the end of a file's name
    ("tiff", "Labels as TIFF", "tif"),
    ("ome-zarr", "Labels as OME-Zarr", "ome.zarr"),
    ("coco", "Masks as COCO JSON", "json"),
    ("tracks", "Centres over time as tracks", "csv"),
)


class SessionSection(Section):
    """Undo and redo, and sessions in folders.

    Attributes
    ----------
    undo_asked, redo_asked : Signal()
        Emitted when the buttons are pressed.
    save_asked, open_asked : Signal(str)
        Emitted with the folder that the user chose.
    export_asked : Signal(str, str)
        Emitted with a format, as `napari_sam2.session.export` names it, and the file.
    """

    undo_asked = Signal()
    redo_asked = Signal()
    save_asked = Signal(str)
    open_asked = Signal(str)
    export_asked = Signal(str, str)

    def __init__(self) -> None:
        super().__init__("Session")
        self.undo = QPushButton("Undo")
        self.redo = QPushButton("Redo")
        self.save = QPushButton("Save as…")
        self.save.setToolTip("Save prompts and masks to a folder; changes are saved by themselves.")
        self.open = QPushButton("Open…")
        self.open.setToolTip("Go on with a session that was saved to a folder.")
        self.export = QPushButton("Export…")
        self.export.setToolTip("Write the masks of all objects for other programs.")
        self.export.setMenu(QMenu(self.export))
        for of in _EXPORTS:
            action = self.export.menu().addAction(f"{of[1]}…")
            action.triggered.connect(lambda _, of=of: self._choose_export(*of))
        self.add_row("", self.undo, self.redo, even=True)
        self.add_row("", self.save, self.open, even=True)
        self.add_row("", self.export)
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

    def _choose_export(self, format_: str, what: str, ending: str) -> None:
        dialog = QFileDialog(self, what, filter=f"{what} (*.{ending})")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix(ending)
        if dialog.exec():
            self.export_asked.emit(format_, dialog.selectedFiles()[0])
        dialog.deleteLater()

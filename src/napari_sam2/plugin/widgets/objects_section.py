"""Every object in a table: which is active, and what becomes of those that are selected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QItemSelectionModel, QModelIndex, Qt, Signal
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QPushButton, QTableView

from napari_sam2.plugin.layers.colors import object_color
from napari_sam2.plugin.widgets.section import Section

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_sam2.session.overview import ObjectSummary

SHOWN, NAME, PLANES, CERTAINTY = range(4)
_TITLES = ("", "name", "planes", "certainty")
_TIPS = (
    "Untick an object to hide its masks.",
    "Double-click to give the object another name.",
    "On how many planes of this stack it was found.",
    "The lowest of the model's own estimates of its masks' overlap with the truth, 0 to 1. "
    "Double-click to go there.",
)
_ROWS_IN_VIEW = 5


class ObjectTable(QAbstractTableModel):
    """Objects as rows.

    Attributes
    ----------
    rows : tuple of ObjectSummary
        What is shown.
    renamed : Signal(int, str)
        Emitted with an object and the name that the user gave it.
    shown : Signal(int, bool)
        Emitted with an object and whether the user wants to see it.
    """

    renamed = Signal(int, str)
    shown = Signal(int, bool)

    def __init__(self) -> None:
        super().__init__()
        self.rows: tuple[ObjectSummary, ...] = ()

    def set_rows(self, rows: tuple[ObjectSummary, ...]) -> None:
        """Show other objects, or the same as they are now."""
        before = [row.entry.object_id for row in self.rows]
        if before != [row.entry.object_id for row in rows]:
            self.beginResetModel()
            self.rows = rows
            self.endResetModel()
        elif rows != self.rows:
            renamed = [row.entry for row in self.rows] != [row.entry for row in rows]
            self.rows = rows
            # a name that is being edited would be read anew
            first = SHOWN if renamed else PLANES
            self.dataChanged.emit(self.index(0, first), self.index(len(rows) - 1, CERTAINTY))

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """How many objects there are."""
        return 0 if parent is not None and parent.isValid() else len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """How many things are said of each."""
        return 0 if parent is not None and parent.isValid() else len(_TITLES)

    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> Any:
        """Title and tooltip of a column."""
        if orientation != Qt.Orientation.Horizontal:
            return None
        texts = {Qt.ItemDataRole.DisplayRole: _TITLES, Qt.ItemDataRole.ToolTipRole: _TIPS}
        return texts[role][section] if role in texts else None  # type: ignore[index]

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """What a cell shows."""
        row, column = self.rows[index.row()], index.column()
        if role == Qt.ItemDataRole.ToolTipRole:
            return _TIPS[column]
        if column == SHOWN and role == Qt.ItemDataRole.CheckStateRole:
            return Qt.CheckState.Checked if row.entry.visible else Qt.CheckState.Unchecked
        if column == SHOWN and role == Qt.ItemDataRole.DecorationRole:
            return QColor(object_color(row.entry.object_id))
        if column in (PLANES, CERTAINTY) and role == Qt.ItemDataRole.TextAlignmentRole:
            return Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            certainty = "" if row.certainty is None else f"{row.certainty:.2f}"
            return (None, row.entry.name, str(row.planes), certainty)[column]
        return None

    def flags(self, index: QModelIndex) -> Qt.ItemFlag:
        """Ticked and unticked in the first column, edited in the second."""
        more = {SHOWN: Qt.ItemFlag.ItemIsUserCheckable, NAME: Qt.ItemFlag.ItemIsEditable}
        return super().flags(index) | more.get(index.column(), Qt.ItemFlag.NoItemFlags)

    def setData(self, index: QModelIndex, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        """Ask for what the user wants; it is shown once it is so."""
        entry = self.rows[index.row()].entry
        if index.column() == SHOWN and role == Qt.ItemDataRole.CheckStateRole:
            self.shown.emit(entry.object_id, Qt.CheckState(value) == Qt.CheckState.Checked)
        elif index.column() == NAME and str(value).strip() not in ("", entry.name):
            self.renamed.emit(entry.object_id, str(value).strip())
        return False


class ObjectsSection(Section):
    """The table, and what can be done to the objects that are selected in it.

    Attributes
    ----------
    active_chosen : Signal(int)
        Emitted with the object that the user went to.
    frame_asked : Signal(int)
        Emitted with the plane that the user wants to see.
    delete_asked, merge_asked : Signal(object)
        Emitted with the numbers of the selected objects.
    split_asked : Signal(int)
        Emitted with the selected object.
    """

    active_chosen = Signal(int)
    frame_asked = Signal(int)
    delete_asked = Signal(object)
    merge_asked = Signal(object)
    split_asked = Signal(int)

    def __init__(self) -> None:
        super().__init__("Objects")
        self.model = ObjectTable()
        self.table = QTableView()
        self.table.setModel(self.model)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.table.setShowGrid(False)
        self.table.verticalHeader().hide()
        row_height = self.table.fontMetrics().height() + 8
        self.table.verticalHeader().setDefaultSectionSize(row_height)
        header = self.table.horizontalHeader()
        header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)
        header.setHighlightSections(False)
        self.table.setFixedHeight(row_height * (_ROWS_IN_VIEW + 1) + 8)
        self.delete = QPushButton("Delete")
        self.delete.setToolTip("Delete the selected objects with their prompts and masks.")
        self.merge = QPushButton("Merge")
        self.merge.setToolTip("Make the selected objects one, with the lowest of their numbers.")
        self.split = QPushButton("Split off")
        self.split.setToolTip(
            "Make another object of what the selected one is from this plane on: where it went on "
            "with a neighbour."
        )
        self.add_wide(self.table)
        self.add_wide(self.delete, self.merge, self.split)
        self.model.modelReset.connect(self._show_possible)
        self.table.selectionModel().selectionChanged.connect(lambda *_: self._show_possible())
        self.table.selectionModel().currentRowChanged.connect(self._emit_active)
        self.table.doubleClicked.connect(self._emit_frame)
        self.delete.clicked.connect(lambda: self.delete_asked.emit(self.selected))
        self.merge.clicked.connect(lambda: self.merge_asked.emit(self.selected))
        self.split.clicked.connect(lambda: self.split_asked.emit(self.selected[0]))
        self._active = 0
        self._show_possible()

    @property
    def selected(self) -> list[int]:
        """Numbers of the selected objects."""
        rows = self.table.selectionModel().selectedRows()
        return [self.model.rows[index.row()].entry.object_id for index in rows]

    def show_objects(self, rows: tuple[ObjectSummary, ...]) -> None:
        """Show other objects, or the same as they are now; who is selected stays so."""
        selected = self.selected
        self.model.set_rows(rows)
        if self.selected != selected:
            self._select(selected)
        if not self.selected:
            self._select([self._active])

    def show_active(self, object_id: int) -> None:
        """Select the active object."""
        self._active = object_id
        if object_id not in self.selected:
            self._select([object_id])

    def _select(self, numbers: Sequence[int]) -> None:
        selection = self.table.selectionModel()
        selection.blockSignals(True)  # nobody chose anything
        selection.clear()  # the current row, too: choosing it again must be told
        flags = QItemSelectionModel.SelectionFlag
        for row, summary in enumerate(self.model.rows):
            if summary.entry.object_id in numbers:
                index = self.model.index(row, 0)
                selection.select(index, flags.Select | flags.Rows)
                selection.setCurrentIndex(index, flags.NoUpdate)
                self.table.scrollTo(index)
        selection.blockSignals(False)
        self.table.viewport().update()
        self._show_possible()

    def _show_possible(self) -> None:
        count = len(self.selected)
        self.delete.setEnabled(count > 0)
        self.merge.setEnabled(count > 1)
        self.split.setEnabled(count == 1)

    def _emit_active(self, index: QModelIndex) -> None:
        if index.isValid():
            self.active_chosen.emit(self.model.rows[index.row()].entry.object_id)

    def _emit_frame(self, index: QModelIndex) -> None:
        frame = self.model.rows[index.row()].frame
        if index.column() in (PLANES, CERTAINTY) and frame is not None:
            self.frame_asked.emit(frame)

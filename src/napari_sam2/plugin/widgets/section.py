"""A titled part of the dock."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFormLayout,
    QFrame,
    QHBoxLayout,
    QLabel,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

# One width for the captions of all sections, so that their fields stand in one column.
_CAPTION_WIDTH = 68


class Section(QWidget):
    """Rows of captions and fields under a title, which folds them away.

    Parameters
    ----------
    title : str
        What the section is about.
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        self.heading = QToolButton()
        self.heading.setText(title)
        self.heading.setCheckable(True)
        self.heading.setChecked(True)
        self.heading.setToolTip("Fold and unfold.")
        self.heading.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.heading.setArrowType(Qt.ArrowType.DownArrow)
        # the arrow, small, and neither frame nor ground: a title first of all
        self.heading.setStyleSheet(
            "QToolButton { border: none; background: transparent; padding: 0; font-weight: bold; }"
        )
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        line.setFixedHeight(1)
        # Half transparent grey is quiet on a dark and on a light theme.
        line.setStyleSheet("background-color: rgba(128, 128, 128, 90); border: none;")
        header = QHBoxLayout()
        header.setSpacing(8)
        header.addWidget(self.heading)
        header.addWidget(line, 1)
        self._rows = QWidget()
        self._form = QFormLayout(self._rows)
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setHorizontalSpacing(8)
        self._form.setVerticalSpacing(6)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(header)
        layout.addWidget(self._rows)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.heading.toggled.connect(self._unfold)

    def add_wide(self, *fields: QWidget) -> None:
        """Add fields without a caption, which share the whole width evenly."""
        self._form.addRow(_side_by_side(fields, even=True))

    def add_row(self, caption: str, *fields: QWidget, tip: str = "", even: bool = False) -> QLabel:
        """Add a row of one field or several; gives its caption.

        Parameters
        ----------
        caption : str
            What the fields are; may be empty.
        *fields : QWidget
            The fields.
        tip : str
            Tooltip of caption and fields that have none of their own.
        even : bool
            Whether the fields are of one width; else the first takes what the others leave.
        """
        label = QLabel(caption)
        label.setMinimumWidth(_CAPTION_WIDTH)
        label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for widget in (label, *fields):
            widget.setToolTip(widget.toolTip() or tip)
        if len(fields) == 1:
            self._form.addRow(label, fields[0])
        else:
            self._form.addRow(label, _side_by_side(fields, even))
        return label

    def _unfold(self, open_: bool) -> None:
        self._rows.setVisible(open_)
        arrow = Qt.ArrowType.DownArrow if open_ else Qt.ArrowType.RightArrow
        self.heading.setArrowType(arrow)


def _side_by_side(fields: tuple[QWidget, ...], even: bool) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(6)
    for position, field in enumerate(fields):
        row.addWidget(field, 1 if even or position == 0 else 0)
    return row

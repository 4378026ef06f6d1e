"""A titled part of the dock."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFormLayout, QFrame, QHBoxLayout, QLabel, QVBoxLayout, QWidget

# One width for the captions of all sections, so that their fields stand in one column.
_CAPTION_WIDTH = 56


class Section(QWidget):
    """Rows of captions and fields under a title.

    Parameters
    ----------
    title : str
        What the section is about.
    """

    def __init__(self, title: str) -> None:
        super().__init__()
        heading = QLabel(title)
        font = heading.font()
        font.setBold(True)
        heading.setFont(font)
        line = QFrame()
        line.setFrameShape(QFrame.Shape.HLine)
        line.setFixedHeight(1)
        # Half transparent grey is quiet on a dark and on a light theme.
        line.setStyleSheet("background-color: rgba(128, 128, 128, 90); border: none;")
        header = QHBoxLayout()
        header.setSpacing(8)
        header.addWidget(heading)
        header.addWidget(line, 1)
        self._form = QFormLayout()
        self._form.setContentsMargins(0, 0, 0, 0)
        self._form.setHorizontalSpacing(8)
        self._form.setVerticalSpacing(6)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.setLabelAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        layout.addLayout(header)
        layout.addLayout(self._form)

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
            return label
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        for position, field in enumerate(fields):
            row.addWidget(field, 1 if even or position == 0 else 0)
        self._form.addRow(label, row)
        return label

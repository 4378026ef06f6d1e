"""Carrying objects to other frames."""

from __future__ import annotations

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QPushButton, QSpinBox

from napari_sam2.plugin import keys
from napari_sam2.plugin.widgets.section import Section

_GIGABYTES = (1, 2, 4, 8, 16, 32)
_DIRECTIONS = {"both": "both ways", "forward": "forward", "backward": "backward"}


class PropagateSection(Section):
    """Direction, range, memory and start.

    Attributes
    ----------
    run_asked : Signal()
        Emitted when the button is pressed.
    memory_chosen : Signal(object)
        Emitted with the bytes that may be taken up, or None for a share of what is free.
    """

    run_asked = Signal()
    memory_chosen = Signal(object)

    def __init__(self) -> None:
        super().__init__("Propagate")
        self._stack: tuple[int, bool] | None = None
        self.direction = QComboBox()
        for direction, text in _DIRECTIONS.items():
            self.direction.addItem(text, direction)
        self.first, self.last = QSpinBox(), QSpinBox()
        self.stop_when_absent = QCheckBox("stop where the object ends")
        self.stop_when_absent.setToolTip(
            "Leave an object once it has not been seen for three planes. "
            "Right for z; in a time-lapse objects may come back."
        )
        self.selected_only = QCheckBox("only what is selected")
        self.selected_only.setToolTip(
            "Carry the objects that are selected in the table, and leave the others as they are."
        )
        self.memory = QComboBox()
        self.memory.addItem("a share of what is free", None)
        for count in _GIGABYTES:
            self.memory.addItem(f"{count} GB", count * 10**9)
        self.memory.activated.connect(lambda: self.memory_chosen.emit(self.memory.currentData()))
        self.run = QPushButton("Propagate")
        self.run.setToolTip(f"Carry every object through the stack. Key: {keys.PROPAGATE}")
        self.add_row("go", self.direction, tip="Where to go from the planes with prompts.")
        self.add_row(
            "planes", self.first, QLabel("to"), self.last, tip="How far to go, both included."
        )
        self.add_row(
            "memory",
            self.memory,
            tip="How much encoded planes, and what the model remembers of objects, may take up. "
            "The rest waits on disk.",
        )
        self.add_row("", self.stop_when_absent)
        self.add_row("", self.selected_only)
        self.add_row("", self.run)
        self.run.clicked.connect(lambda: self.run_asked.emit())

    @property
    def limits(self) -> tuple[int, int]:
        """First and last frame to go to."""
        return self.first.value(), self.last.value()

    def show_stack(self, frame_count: int, is_time: bool) -> None:
        """Offer the frames of another stack, all of them at first."""
        if (frame_count, is_time) == self._stack:
            return
        self._stack = (frame_count, is_time)
        for box, value in ((self.first, 0), (self.last, frame_count - 1)):
            box.setRange(0, frame_count - 1)
            box.setValue(value)
        self.stop_when_absent.setChecked(not is_time)

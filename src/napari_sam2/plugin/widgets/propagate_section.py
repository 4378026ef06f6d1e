"""Carrying objects to other frames, and how far that is."""

from __future__ import annotations

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QCheckBox, QComboBox, QLabel, QProgressBar, QPushButton, QSpinBox

from napari_sam2.plugin import keys
from napari_sam2.plugin.widgets.section import Section

_GIGABYTES = (1, 2, 4, 8, 16, 32)
_DIRECTIONS = {"both": "both ways", "forward": "forward", "backward": "backward"}


class PropagateSection(Section):
    """Direction, range, memory, start and stop, progress.

    Attributes
    ----------
    run_asked, cancel_asked : Signal()
        Emitted when the buttons are pressed.
    memory_chosen : Signal(object)
        Emitted with the bytes that may be taken up, or None for a share of what is free.
    """

    run_asked = Signal()
    cancel_asked = Signal()
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
        self.cancel = QPushButton("Cancel")
        self.cancel.setToolTip(f"Stop; what was found stays. Key: {keys.CANCEL}")
        self.cancel.setEnabled(False)
        self.progress = QProgressBar()
        self.progress.setTextVisible(True)
        self.progress.setRange(0, 1)
        self.progress.setFormat("")
        self.status = QLabel("Ready")
        self.status.setWordWrap(True)
        self.status.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        # Room for two lines from the start: the form does not make any for a text that grows.
        self.status.setMinimumHeight(2 * self.status.fontMetrics().lineSpacing())
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
        self.add_row("", self.run, self.cancel, even=True)
        self.add_row("", self.progress)
        self.add_row("", self.status)
        self.run.clicked.connect(lambda: self.run_asked.emit())
        self.cancel.clicked.connect(lambda: self.cancel_asked.emit())

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

    def show_progress(self, done: int, total: int) -> None:
        """Show how many frames are done; a single one is too short to be worth a bar."""
        if total > 1:
            self.progress.setRange(0, total)
            self.progress.setValue(done)
            self.progress.setFormat("%v of %m planes")

    def show_status(self, text: str) -> None:
        """Show a sentence on what is being done."""
        self.status.setText(text)
